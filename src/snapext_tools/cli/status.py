"""`snapext status`: the connected processes, and how far the environment is."""

from __future__ import annotations

import sys
import time

import click

from snapext.command import main

INTERVAL_S = 1.0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document (see docs/protocol.md).")
@click.option("--watch", is_flag=True, help="Repeat every second, until the extension is gone.")
def status(*, as_json: bool, watch: bool) -> None:
    """Show the connected processes and their hooks, the phase, the generation, and how long the last boundary took.

    Asks the extension at SNAPEXT_SOCKET (/tmp/snapext-UID/bridge.sock by default). Exit status: 0 when it answers, 1
    when there is none.

    \b
    Example:
      snapext status --json | jq .phase
    """
    result = main.status(as_json=as_json)
    while watch and result == 0:
        time.sleep(INTERVAL_S)
        result = main.status(as_json=as_json)
    sys.exit(result)
