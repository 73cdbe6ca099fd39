"""What `snapext.install_all()` costs where it is called, before the snapshot, and after the restore."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping

from bench.life import TIMEOUT_S
from bench.rounds import Measure, Result, interleave
from bench.stage import BenchError, Stage
from bench.startup import as_pip_installs

NOTHING, SQLALCHEMY, DJANGO = "no library is loaded", "SQLAlchemy, 4 engines", "Django, 4 connections"
INSTALL, BEFORE, AFTER = "install_all_ms", "before_snapshot_ms", "after_restore_ms"


def measure(stage: Stage, rounds: int, tell: Callable[[str], None]) -> Result:
    """Each figure is that of a process of its own."""
    lives = {
        NOTHING: _process(stage),
        SQLALCHEMY: _process(stage, "sqlalchemy"),
        DJANGO: _process(stage, "django"),
    }
    return interleave(lives, rounds, tell)


def _process(stage: Stage, *names: str) -> Measure:
    command = [sys.executable, str(stage.apps / "integrations.py"), *names]

    def run() -> Mapping[str, float]:
        env = stage.environ(PYTHONPATH=str(as_pip_installs(stage)))
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise BenchError(f"install_all(): {done.stderr.strip().splitlines()[-1:]}")
        measured: dict[str, float] = json.loads(done.stdout)
        return measured

    return run
