"""`snapext doctor`: check a function's settings, and name the lines to change.

`env_file` and `template` read, the `rules_…` judge without I/O, `report` prints. Nothing here goes into the layer.
"""
