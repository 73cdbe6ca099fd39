"""`snapext done`: the answer of a handler to a signal."""

from __future__ import annotations

import sys

import click

from snapext.command import main


@click.command()
@click.option("--failed", metavar="MESSAGE", help="The handler has failed: so does the phase, with this message.")
def done(failed: str | None) -> None:
    """Say that the signal handler which runs this command is done.

    For processes that are told by signal (SNAPEXT_SIGNALS). The process that is done is the nearest one among this
    command's parents that was sent a signal. Exit status: 0 when it was said, 1 when nobody waits for it.

    \b
    Example:
      trap 'reconnect && snapext done || snapext done --failed "no connection"' RTMIN+5
    """
    sys.exit(main.done(failed))
