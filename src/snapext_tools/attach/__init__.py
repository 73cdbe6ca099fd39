"""`snapext attach`: the change of a function's settings that attaches snapext to it, and `snapext layer publish`.

`needs` decides what is missing, `patch` changes a template's text and keeps the rest of it, `elsewhere` has the lines
for CDK, Terraform and serverless.yml, `publish` the commands that make a layer of the zip.
"""
