"""The commands on a developer's machine, for click: each parses and calls.

A module is imported only to run its command or show its help.
"""

COMMANDS = {
    "attach": "attach",
    "checkpoint": "inside",
    "doctor": "doctor",
    "done": "inside",
    "layer": "layer",
    "signal": "signal",
    "simulate": "simulate",
    "status": "inside",
}
"""The name of each command, and its module in this folder."""
