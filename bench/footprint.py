"""The pages that a restore touches: on Lambda each cold page is a read from the snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from bench import restore
from bench.kernel import forget_references, touched_pages, waits
from bench.life import RUNTIME, TIMEOUT_S, Life, Setup
from bench.rounds import Measure, Result, interleave
from bench.stage import Stage
from snapext_tools.simulator.folder import EXTENSION

EXTENSION_SNAPEXT, APP_SNAPEXT = "the extension", "the app's process, snapext"
EXTENSION_IDLE, APP_IDLE = "the extension, no restore", "the app's process, no restore"
APP_TICK = "the app's process, no restore, a tick of uvicorn"
APP_HTTP, AWSLAMBDARIC = "the app's process, HTTP hooks", "awslambdaric's process"
IDLE_S = 0.01
"""Longer than a restore takes; the pages touched in it without a restore are the comparison."""
TICK_S, LOOK_S, REST_S = 0.3, 0.0005, 0.002
"""uvicorn wakes up ten times a second, and is at rest again some 100 us later."""


def measure(stage: Stage, rounds: int, tell: Callable[[str], None]) -> Result:
    setups = restore.setups(1)
    snapext = setups[restore.SNAPEXT_REAL]
    lives = {
        "snapext": _life(stage, snapext, {EXTENSION_SNAPEXT: EXTENSION, APP_SNAPEXT: RUNTIME}),
        "HTTP hooks": _life(stage, setups[restore.HTTP_BARE], {APP_HTTP: RUNTIME}),
        "no restore": _life(stage, snapext, {EXTENSION_IDLE: EXTENSION, APP_IDLE: RUNTIME}, idle=True),
    }
    if restore.AWSLAMBDARIC in setups:
        lives["awslambdaric"] = _life(stage, setups[restore.AWSLAMBDARIC], {AWSLAMBDARIC: RUNTIME})
    result = interleave(lives, rounds, tell)
    by_process: dict[str, dict[str, list[float]]] = {}
    for name, by_setup in result.figures.items():
        metric, _, process = name.partition(": ")
        (by_process.setdefault(metric, {})[process],) = by_setup.values()
    result.figures = by_process
    return result


def _life(stage: Stage, setup: Setup, watched: Mapping[str, str], *, idle: bool = False) -> Measure:
    """`watched`: the name of a process in the report, and in the life. idle: without a restore, then a tick on its own.

    It begins behind a tick of the server: one in the middle would be counted as the restore's.
    """

    def live() -> Mapping[str, float]:
        with Life(setup, stage) as life:
            pids = {title: life.pid(name) for title, name in watched.items()}
            app = life.pid(RUNTIME)
            _wait_tick(app)
            for pid in pids.values():
                forget_references(pid)
            if idle:
                time.sleep(IDLE_S)  # this is the idle time itself
            else:
                life.platform.restore()
                life.platform.wait_ready(TIMEOUT_S)
            measured = _touched(pids)
            if idle:
                forget_references(app)
                _wait_tick(app)
                measured |= _touched({APP_TICK: app})
            return measured

    return live


def _touched(pids: Mapping[str, int]) -> dict[str, float]:
    measured: dict[str, float] = {}
    for title, pid in pids.items():
        anonymous, of_files = touched_pages(pid)
        measured[f"pages: {title}"] = anonymous + of_files
        measured[f"own pages: {title}"] = anonymous
    return measured


def _wait_tick(pid: int) -> None:
    """Until the main thread has woken up and waits again; not for ever, as not every server does."""
    before, deadline = waits(pid), time.monotonic() + TICK_S
    while waits(pid) == before and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    time.sleep(REST_S)
