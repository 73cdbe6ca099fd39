"""The commands on a developer's machine: one module a command, which parses and calls.

A module is imported when its command is run or asked for its help.
"""

COMMANDS = ("checkpoint", "doctor", "done", "layer", "signal", "simulate", "status")
