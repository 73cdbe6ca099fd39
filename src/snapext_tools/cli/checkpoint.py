"""`snapext checkpoint`: explicit mode, from a script."""

import sys

import click

from snapext.command import main


@click.command()
def checkpoint() -> None:
    """Report that this function is up, and wait until it is restored and every hook has run.

    For a runtime that is a script: start the server, run this, then ask for the first invocation/next. Set
    SNAPEXT_MODE=explicit. Exit status: 0 when every hook has run, and at once outside snap-start; 64 when a hook
    failed before the snapshot, 65 after the restore, 1 when there is no extension.

    \b
    Example:
      python server.py & snapext checkpoint || exit
    """
    sys.exit(main.checkpoint())
