"""Restore latency and the first response, at the platform, against the alternatives."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

from bench.life import Life, Setup
from bench.rounds import Measure, Result, interleave
from bench.stage import BARE, REAL, STAND_IN, BenchError, Stage, has_awslambdaric

SNAPEXT_REAL = "snapext, adapter 0.9.1 (real)"
SNAPEXT_STAND_IN = "snapext, adapter 1.1 (stand-in)"
SNAPEXT_BARE = "snapext, adapter 1.1 (bare)"
HTTP_STAND_IN = "HTTP hooks, adapter 1.1 (stand-in)"
HTTP_BARE = "HTTP hooks, adapter 1.1 (bare)"
PINGS = "counting pings, adapter 0.9.1 (real)"
AWSLAMBDARIC = "awslambdaric, in-process"
FLOOR = "floor: one line and back"
NOTHING = "the measuring itself"

HTTP_HOOKS = {
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "/before",
    "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after",
}
PINGS_TIMEOUT_S = 10.0


def measure(stage: Stage, rounds: int, tell: Callable[[str], None], workers: tuple[int, ...] = (1, 4)) -> Result:
    """Metrics are named `restore_ms, 1 worker` and so on."""
    result = Result(rounds=rounds)
    for count in workers:
        words = "1 worker" if count == 1 else f"{count} workers"
        part = interleave(measures(stage, count), rounds, lambda line, words=words: tell(f"{words}, {line}"))  # type: ignore[misc]
        result.warm_up = part.warm_up
        result.dropped += part.dropped
        result.figures |= {f"{metric}, {words}": by_setup for metric, by_setup in part.figures.items()}
    return result


def measures(stage: Stage, workers: int) -> dict[str, Measure]:
    return {name: _life(stage, name, setup) for name, setup in setups(workers).items()}


def setups(workers: int) -> dict[str, Setup]:
    """All but the last three have uvicorn serving the same app."""
    uvicorn: tuple[str, ...] = ("{python}", "-m", "uvicorn", "--port", "{port}", "--log-level", "warning")
    uvicorn += ("--workers", str(workers), "asgi:app") if workers > 1 else ("asgi:app",)

    def with_snapext(adapter: str) -> Setup:
        return Setup(uvicorn, adapter, snapext=True, workers=workers, env={"BENCH_LINK": "snapext"})

    chosen = {
        SNAPEXT_REAL: with_snapext(REAL),
        SNAPEXT_STAND_IN: with_snapext(STAND_IN),
        SNAPEXT_BARE: with_snapext(BARE),
        HTTP_STAND_IN: Setup(uvicorn, STAND_IN, env=HTTP_HOOKS),
        HTTP_BARE: Setup(uvicorn, BARE, env=HTTP_HOOKS),
        PINGS: Setup(uvicorn, REAL, env={"BENCH_LINK": "pings"}),
        FLOOR: Setup(("{python}", "-I", "-S", "floor.py", str(workers))),
    }
    if workers == 1:
        chosen[NOTHING] = Setup(("{python}", "-I", "-S", "floor.py", "0"))
        if has_awslambdaric():
            chosen[AWSLAMBDARIC] = Setup(("{python}", "-m", "awslambdaric", "handler.handle"))
    return chosen


def _life(stage: Stage, name: str, setup: Setup) -> Measure:
    def live() -> Mapping[str, float]:
        with Life(setup, stage) as life:
            restored = life.restore()
            measured = {"restore_ms": restored.restore_ms, "first_response_ms": restored.first_response_ms}
            if name == PINGS:
                del measured["restore_ms"]  # nothing asks for restore/next, so nothing is held back
            if name in (FLOOR, NOTHING):
                del measured["first_response_ms"]  # it serves nothing
            return measured | (_pings(life) if name == FLOOR else {})

    return live


def _pings(life: Life) -> dict[str, float]:
    """The floor's own measurement: the same round trip, without the platform around it."""
    path = life.folder / "pings"
    deadline = time.monotonic() + PINGS_TIMEOUT_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise BenchError(f"the floor's process did not report its pings; it wrote: {life.children.last_words()}")
        time.sleep(0.002)
    said = json.loads(path.read_text())
    return {"ping_cold_ms": said["cold_ms"], "ping_hot_ms": said["hot_ms"]}
