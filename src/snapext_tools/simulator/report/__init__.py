"""A life as a page (`--report`) and as a trace (`--trace`): pure functions of the document of `--json`."""
