"""The commands inside a function, for click's help and completion; snapext/command does the work."""

from __future__ import annotations

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


@click.command()
@click.option("--failed", metavar="MESSAGE", help="The handler failed: fail the phase with this message.")
def done(failed: str | None) -> None:
    """Report that the signal handler that runs this command is done.

    For signalled processes (SNAPEXT_SIGNALS). It reports for the nearest of this command's parents that got a signal.
    Exit status: 0 when the extension gets the answer, 1 when no extension waits for it.

    \b
    Example:
      trap 'reconnect && snapext done || snapext done --failed "no connection"' RTMIN+5
    """
    sys.exit(main.done(failed))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (see docs/protocol.md).")
@click.option("--watch", is_flag=True, help="Repeat every second, until the extension is gone.")
def status(*, as_json: bool, watch: bool) -> None:
    """Show the connected processes and their hooks, the state, the generation, and how long the last boundary took.

    Asks the extension at SNAPEXT_SOCKET (/tmp/snapext-UID/bridge.sock by default). Exit status: 0 when it answers, 1
    when there is none.

    \b
    Example:
      snapext status --json | jq .phase
    """
    sys.exit(main.status(as_json=as_json, watch=watch))
