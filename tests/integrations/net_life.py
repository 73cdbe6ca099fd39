"""A life under the local Lambda, in this process: a test sees the servers at the snapshot, before anything goes on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from net_servers import free_port

from snapext_tools.simulator.plan import Plan, Request
from snapext_tools.simulator.simulation import Simulation
from snapext_tools.simulator.states import InitType

APPS = Path(__file__).parent / "apps"


def live(
    app: str, at: Callable[[str], None], *, workers: int = 2, requests: tuple[str, ...] = ("/use",), **env: str
) -> tuple[dict[str, Any], list[str]]:
    """Run an app under uvicorn from start to end. `at` is called with the name of each event, when it happens.

    Returns the document, and what the app wrote.
    """
    port = free_port()
    lines: list[str] = []
    plan = Plan(
        command=(
            *(sys.executable, "-m", "uvicorn", "--app-dir", str(APPS), "--port", str(port)),
            *("--workers", str(workers), "--log-level", "warning", app),
        ),
        port=port,
        workers=None,
        init_type=InitType.SNAP_START,
        freeze_s=0.05,
        requests=tuple(Request("GET", path) for path in requests),
        adapter="builtin",
        timeout_s=100.0,
    )
    environ = {**os.environ, "SNAPEXT_WORKERS": str(workers), "PYTHONDONTWRITEBYTECODE": "1", **env}
    simulation = Simulation(
        plan,
        environ,
        tell=lambda happened: at(getattr(happened, "event", "")),
        hear_app=lambda _who, line: lines.append(line),
    )
    return json.loads(json.dumps(simulation.run())), lines
