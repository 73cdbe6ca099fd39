"""How to behave in somebody else's process: imports nothing of ours, replaces nothing, is replaced by nothing."""
