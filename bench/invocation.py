"""The cost of an invocation with and without snapext: the same app behind the same adapter, both alive side by side."""

from __future__ import annotations

import contextlib
import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping

from bench.life import TIMEOUT_S, Life, Setup, check
from bench.rounds import Figures, Result
from bench.stage import REAL, Stage
from snapext_tools.simulator import apigw

WITH, WITHOUT = "with snapext", "without snapext"
AGAIN = "without snapext, a second one"
"""The same as WITHOUT in another environment: the deviation of their ratio from 1 is the run's own noise."""
BLOCK, BLOCKS, QUICK_BLOCKS = 50, 6, 3
MODES = {"buffered": ("/", {}), "streaming": ("/stream", {"AWS_LWA_INVOKE_MODE": "response_stream"})}


def measure(stage: Stage, rounds: int, tell: Callable[[str], None], blocks: int = BLOCKS) -> Result:
    """A round is a new set of environments: each has its own luck with memory and cores, for its whole life.

    Throughput is one figure per environment, from its median block: a burst of other work on the machine falls into
    one block, and shows in the latencies, which are kept one by one.
    """
    result = Result(rounds=rounds, warm_up=1)
    for mode, (path, env) in MODES.items():
        for number in range(rounds + 1):
            measured = _side_by_side(stage, env, path, blocks, first=number)
            tell(f"{mode}, round {number + 1} of {rounds + 1}")
            if number > 0:
                for metric, by_setup in measured.items():
                    sums = result.figures.setdefault(f"{metric}, {mode}", {})
                    for name in (WITH, WITHOUT, AGAIN):
                        sums.setdefault(name, []).extend(by_setup[name])
    return result


def _side_by_side(stage: Stage, env: Mapping[str, str], path: str, blocks: int, *, first: int) -> Figures:
    """Start one environment of each kind and send each a block in turn; `first` rotates the order."""
    kinds = [*setups(env).items()]
    first %= len(kinds)
    kinds = kinds[first:] + kinds[:first]
    payload = json.dumps(apigw.http_event("GET", path)).encode()
    took_s: dict[str, list[float]] = {name: [] for name, _ in kinds}
    figures: Figures = {"throughput_per_s": {}, "latency_ms": {}, "first_byte_ms": {}}
    with contextlib.ExitStack() as lives:
        platforms = {name: lives.enter_context(Life(setup, stage)).platform for name, setup in kinds}
        for platform in platforms.values():
            platform.restore()
            platform.wait_ready(TIMEOUT_S)
        for block in range(blocks + 1):
            names = [*platforms] if block % 2 else [*reversed(platforms)]
            for name in names:
                gc.collect()
                began = time.perf_counter()
                results = [platforms[name].invoke(payload, TIMEOUT_S) for _ in range(BLOCK)]
                if block > 0:  # the first of each warms it up
                    took_s[name].append(time.perf_counter() - began)
                    figures["latency_ms"].setdefault(name, []).extend(one.duration_ms for one in results)
                    figures["first_byte_ms"].setdefault(name, []).extend(one.first_byte_ms for one in results)
                for one in results:
                    check(one.ok, one.body)
    if path == "/":
        del figures["first_byte_ms"]  # a buffered answer comes in one piece
    figures["throughput_per_s"] = {name: [BLOCK / statistics.median(took)] for name, took in took_s.items()}
    return figures


def setups(env: Mapping[str, str]) -> dict[str, Setup]:
    uvicorn = ("{python}", "-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "asgi:app")
    return {
        WITH: Setup(uvicorn, REAL, snapext=True, env={**env, "BENCH_LINK": "snapext"}),
        WITHOUT: Setup(uvicorn, REAL, env=env),
        AGAIN: Setup(uvicorn, REAL, env=env),
    }
