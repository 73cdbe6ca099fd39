"""`snapext done`: a handler's answer to a signal."""

from __future__ import annotations

import sys

import click

from snapext.command import main


@click.command()
@click.option("--failed", metavar="MESSAGE", help="The handler failed: fail the phase with this message.")
def done(failed: str | None) -> None:
    """Report that the signal handler that runs this command is done.

    For signalled processes (SNAPEXT_SIGNALS). It reports for the nearest of this command's parents that got a signal.
    Exit status: 0 when the extension was told, 1 when no extension waits for the answer.

    \b
    Example:
      trap 'reconnect && snapext done || snapext done --failed "no connection"' RTMIN+5
    """
    sys.exit(main.done(failed))
