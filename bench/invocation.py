"""What an invocation costs with and without snapext: the same app behind the same adapter, both alive side by side."""

from __future__ import annotations

import contextlib
import gc
import json
import time
from collections.abc import Callable, Mapping

from bench.life import TIMEOUT_S, Life, Setup, check
from bench.rounds import Measure, Result, interleave
from bench.stage import REAL, Stage
from snapext.simulator import apigw
from snapext.simulator.platform import Platform

WITH, WITHOUT = "with snapext", "without snapext"
BLOCK = 50
MODES = {"buffered": ("/", {}), "streaming": ("/stream", {"AWS_LWA_INVOKE_MODE": "response_stream"})}


def measure(stage: Stage, rounds: int, tell: Callable[[str], None], block: int = BLOCK) -> Result:
    """A round is one block of invocations in each environment. Latencies are kept one by one."""
    result = Result(rounds=rounds)
    for mode, (path, env) in MODES.items():
        latencies: dict[str, dict[str, list[float]]] = {"latency_ms": {}, "first_byte_ms": {}}
        with contextlib.ExitStack() as lives:
            blocks: dict[str, Measure] = {}
            for name, setup in setups(env).items():
                platform = lives.enter_context(Life(setup, stage)).platform
                platform.restore()
                platform.wait_ready(TIMEOUT_S)
                blocks[name] = _block(platform, path, block, {m: v.setdefault(name, []) for m, v in latencies.items()})
            part = interleave(blocks, rounds, lambda line, mode=mode: tell(f"{mode}, {line}"))  # type: ignore[misc]
        warm = part.warm_up * block
        result.figures |= {f"{metric}, {mode}": by_setup for metric, by_setup in part.figures.items()}
        for metric, by_setup in latencies.items():
            result.figures[f"{metric}, {mode}"] = {name: values[warm:] for name, values in by_setup.items()}
        result.warm_up = part.warm_up
        result.dropped += part.dropped
    return result


def setups(env: Mapping[str, str]) -> dict[str, Setup]:
    uvicorn = ("{python}", "-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "asgi:app")
    return {
        WITH: Setup(uvicorn, REAL, snapext=True, env={**env, "BENCH_LINK": "snapext"}),
        WITHOUT: Setup(uvicorn, REAL, env=env),
    }


def _block(platform: Platform, path: str, count: int, latencies: Mapping[str, list[float]]) -> Measure:
    payload = json.dumps(apigw.http_event("GET", path)).encode()

    def invoke() -> Mapping[str, float]:
        gc.collect()
        began = time.perf_counter()
        results = [platform.invoke(payload, TIMEOUT_S) for _ in range(count)]
        took_s = time.perf_counter() - began
        for result in results:
            check(result.ok, result.body)
        latencies["latency_ms"] += [result.duration_ms for result in results]
        latencies["first_byte_ms"] += [result.first_byte_ms for result in results]
        return {"throughput_per_s": count / took_s}

    return invoke
