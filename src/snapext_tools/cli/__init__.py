"""The commands on a developer's machine, as click's: each parses and calls.

A module is imported when its command is run or asked for its help.
"""

COMMANDS = {
    "checkpoint": "inside",
    "doctor": "doctor",
    "done": "inside",
    "layer": "layer",
    "signal": "signal",
    "simulate": "simulate",
    "status": "inside",
}
"""The name of each command, and the module beside this one that has it."""
