"""The `snapext` command: one module a command, which parses and calls.

A module is imported when its command is run: `snapext checkpoint` is on the path of init and must not pay for the rest.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import click

COMMANDS = ("checkpoint", "doctor", "done", "layer", "signal", "simulate", "status")


def main() -> None:
    """Run the command line. What is plain and runs inside a function does not even need click."""
    from snapext import _commands

    try:
        status = _commands.run(sys.argv[1:])
    except KeyboardInterrupt:
        status = _commands.EXIT_INTERRUPTED
    if status is not None:
        os._exit(status)  # nothing of ours is left to be ended, and somebody waits for it
    group()(prog_name="snapext")


def group() -> click.Group:
    """All commands, for click."""
    from snapext.cli.group import snapext

    return snapext
