"""The commands that run inside a function, for their help and their completion; snapext/command has what they do."""

from __future__ import annotations

import sys

import click

from snapext.command import main


@click.command()
def checkpoint() -> None:
    """Say that this function is up, and wait until it is restored and every hook has run.

    For a runtime that is a script: start the server, run this, and go on to the first invocation/next. Set
    SNAPEXT_MODE=explicit. Exit status: 0 when every hook has run, and at once where the environment is not snap-start;
    64 when a hook failed before the snapshot, 65 after the restore, 1 when nobody can take it across.

    \b
    Example:
      python server.py & snapext checkpoint || exit
    """
    sys.exit(main.checkpoint())


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


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document, as docs/protocol.md has it.")
@click.option("--watch", is_flag=True, help="Again every second, until there is no extension any more.")
def status(*, as_json: bool, watch: bool) -> None:
    """Say who is connected, with which hooks, the phase, the generation, and how long the last boundary took.

    Asks the extension at SNAPEXT_SOCKET (/tmp/snapext-UID/bridge.sock by default). Exit status: 0 when it answers, 1
    when there is none.

    \b
    Example:
      snapext status --json | jq .phase
    """
    sys.exit(main.status(as_json=as_json, watch=watch))
