"""The commands on a developer's machine: one module per command, which parses and calls.

A module is imported only to run its command or show its help.
"""

COMMANDS = ("checkpoint", "doctor", "done", "layer", "signal", "simulate", "status")
