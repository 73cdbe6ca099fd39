"""What the middleware costs each request, before a restore and after it, beside two bare readings of the clocks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping

from bench.life import TIMEOUT_S
from bench.rounds import Result, interleave
from bench.stage import BenchError, Stage
from bench.startup import as_pip_installs

ASGI, WSGI, CLOCK = "ASGI", "WSGI", "two readings of a clock"
BEFORE, AFTER = "before_restore_ns", "after_restore_ns"


def measure(stage: Stage, rounds: int, tell: Callable[[str], None]) -> Result:
    """Each round is a process of its own, which measures all."""
    command = [stage.python, str(stage.apps / "middleware.py")]
    env = {"PYTHONPATH": str(as_pip_installs(stage)), "SNAPEXT_SOCKET": str(stage.root / "none" / "bridge.sock")}

    def live() -> Mapping[str, float]:
        done = subprocess.run(command, env=env, capture_output=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise BenchError(done.stderr.decode("utf-8", "replace")[-300:])
        return {
            f"{metric}|{kind}": value
            for kind, figures in json.loads(done.stdout).items()
            for metric, value in figures.items()
        }

    result = interleave({"all": live}, rounds, tell)
    taken = {name: values["all"] for name, values in result.figures.items()}
    result.figures = {
        metric: {ASGI: taken[f"{name}|ASGI"], WSGI: taken[f"{name}|WSGI"], CLOCK: taken["clock_ns|ASGI"]}
        for metric, name in ((BEFORE, "before_ns"), (AFTER, "after_ns"))
    }
    return result
