"""What is wrong with a function's settings, and the line to change: `snapext doctor`.

`env_file` and `template` read, the `rules_…` judge without I/O, `report` says it. Nothing here goes into the layer.
"""
