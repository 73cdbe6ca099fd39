"""One life of the installed layer under the local Lambda; run inside a mount namespace in which /opt is that layer.

Reads a plan as JSON from standard input, writes the document to standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from snapext_tools.simulator import simulation
from snapext_tools.simulator.hearing import Hearing
from snapext_tools.simulator.plan import Plan, Request
from snapext_tools.simulator.platform import InitType, PlatformEvent


class WatchedHearing(Hearing):
    """Says in a file when the first byte of a streamed response has reached the platform."""

    def platform_event(self, event: PlatformEvent) -> None:
        if event.name == "first_byte":
            Path(os.environ["FIRST_BYTE_FILE"]).touch()
        super().platform_event(event)


def main() -> None:
    asked = json.load(sys.stdin)
    plan = Plan(
        command=("/opt/snapext/bootstrap", "/usr/bin/false"),
        port=asked["port"],
        workers=asked["workers"],
        init_type=InitType(asked["init_type"]),
        freeze_s=0.0,
        requests=tuple(Request("GET", path) for path in asked["paths"]),
        adapter=asked["adapter"],
        timeout_s=60.0,
        installed_layer="/opt",
    )
    simulation.Hearing = WatchedHearing
    life = simulation.Simulation(
        plan, os.environ, tell=lambda _what: None, hear_app=lambda who, line: print(who, line, file=sys.stderr)
    )
    print(json.dumps(life.run()))


main()
