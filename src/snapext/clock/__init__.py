"""Whether this process runs from a snapshot, told by the clocks alone: for where nothing else says so."""
