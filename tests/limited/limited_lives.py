"""Whole lives of gunicorn under a CPU limit, judged by the app's own trace: was a worker left out?

A function of 128 to 512 MB has some 7 to 30 % of a CPU. Its workers then start seconds apart, and a boundary that goes
by time begins while some are still importing. `make lives` plays forty of them, all kinds together; CI plays three.
"""

from __future__ import annotations

import compileall
import concurrent.futures
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cpu_limit import NoLimitError, cpu_limit, throttled_s

APPS = Path(__file__).parent / "apps"
ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
LIMITS = (30, 15, 7)
SERVERS = {
    "sync": ["-k", "sync", "limited:application"],
    "uvicorn": ["-k", "uvicorn_worker.UvicornWorker", "limited:asgi"],
}
IMPORTS = ("plain", "slow-before", "slow-after", "long-after", "heavy")
AT_ONCE = 4
"""Lives that run at the same time: together they need less than one CPU."""
TIMEOUT_S = 300
# The start command puts the whole environment into the group: itself, and what the platform has started beside it. The
# platform, which is not a part of the function, stays outside.
ENTER = """
for pid in $(cat /proc/$PPID/task/*/children); do echo "$pid" >"$0" || exit; done
exec "$@"
"""


@dataclass(frozen=True)
class Plan:
    """One life. named: whether SNAPEXT_WORKERS says how many workers there are."""

    percent: int
    workers: int
    server: str
    imports: str
    named: bool

    def __str__(self) -> str:
        named = ", number named" if self.named else ""
        return f"{self.percent:2} % of a CPU, {self.workers} {self.server}, {self.imports} imports{named}"


@dataclass
class Outcome:
    """What became of a life: `faults` is empty when every worker took part in both phases.

    spread_s: from the first worker that had imported the app to the last.
    """

    plan: Plan
    faults: list[str]
    took_s: float
    throttled_s: float
    spread_s: float
    restore_ms: float | None

    def __str__(self) -> str:
        verdict = "; ".join(self.faults) or "ok"
        figures = f"{self.took_s:5.1f} s, {self.throttled_s:5.1f} s throttled, workers {self.spread_s:4.1f} s apart"
        restore = "" if self.restore_ms is None else f", restore {self.restore_ms:.0f} ms"
        return f"{self.plan!s:62} {figures}{restore}: {verdict}"


def plans(count: int) -> list[Plan]:
    """The same each time: every limit with every kind of server and import, and one to eight workers in turn."""
    kinds = list(itertools.product(IMPORTS, SERVERS, LIMITS))
    made = []
    for index in range(count):
        lap, place = divmod(index, len(kinds))
        imports, server, percent = kinds[place]
        made.append(Plan(percent, 1 + (index + 3 * lap) % 8, server, imports, named=(index + lap) % 2 == 1))
    return made


@functools.cache
def compile_everything() -> None:
    """What pip has not compiled: else the first lives pay for the compiler, which takes minutes under a limit."""
    for folder in (APPS, *(ROOT / name for name in ("src", "extension"))):
        compileall.compile_dir(folder, quiet=2)


_numbers = itertools.count(os.getpid())
"""Of ports: below those that the kernel takes by itself while a server starts, above those of helpers.free_port."""


def play(plan: Plan) -> Outcome:
    """Play one life in a group of its own. Raises NoLimitError where there can be none."""
    compile_everything()
    with cpu_limit(plan.percent) as procs, tempfile.TemporaryDirectory(prefix="snapext-life-") as folder:
        trace_file = Path(folder) / "trace"
        trace_file.touch()
        port = 28_000 + next(_numbers) % 4_000
        simulate = [sys.executable, "-m", "snapext", "simulate", "--json", "--timeout", str(TIMEOUT_S)]
        options = ["--port", str(port), *(["--workers", str(plan.workers)] if plan.named else [])]
        requests = ["--request", "GET /"] * (plan.workers + 1)
        server = [str(BIN / "gunicorn"), "-w", str(plan.workers), "-b", f"127.0.0.1:{port}", *SERVERS[plan.server]]
        started = time.monotonic()
        done = subprocess.run(
            [*simulate, *options, *requests, "--", "sh", "-c", ENTER, str(procs), *server],
            cwd=APPS,
            env={
                **{key: value for key, value in os.environ.items() if not key.startswith(("SNAPEXT_", "AWS_"))},
                "TRACE_FILE": str(trace_file),
                "IMPORTS": plan.imports,
                "AWS_LWA_READINESS_CHECK_PATH": "/ready",
                "SNAPEXT_READY_TIMEOUT_MS": str(TIMEOUT_S * 1000),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S + 60,
        )
        took_s, throttled = time.monotonic() - started, throttled_s(procs)
        trace = [json.loads(line) for line in trace_file.read_text().splitlines()]
    document = json.loads(done.stdout) if done.stdout else {}
    faults = judge(plan, trace)
    if done.returncode != 0:
        reasons = [error["message"] for error in document.get("errors", [])]
        faults.append(f"exit status {done.returncode}: {' '.join(reasons)}\n{done.stderr[-2000:]}")
    imported = [line["at_ns"] for line in trace if line["phase"] == "imported"]
    spread_s = (max(imported) - min(imported)) / 1e9 if imported else 0.0
    return Outcome(plan, faults, took_s, throttled, spread_s, document.get("restore_ms"))


def judge(plan: Plan, trace: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a life, by what its workers have written down themselves.

    A worker took part when each of its hooks has run once, in order, before its first request. One that was forked
    after the last before-snapshot hook holds nothing from before; but where the number is named, there may be none.
    """
    of: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in sorted(trace, key=lambda line: int(line["at_ns"])):
        of[line["pid"]].append(line)
    before = [line["at_ns"] for line in trace if line.get("hook") == "before"]
    if not before:
        return [f"no before-snapshot hook has run in any of {len(of)} workers"]
    faults = []
    late = [pid for pid, lines in of.items() if lines[0]["at_ns"] > max(before)]
    if late and plan.named:
        faults.append(f"{len(late)} of {plan.workers} workers had not been forked when the snapshot was taken")
    for pid in of.keys() - late:
        ran = [line.get("hook", line["phase"]) for line in of[pid] if line["phase"] in ("hook", "request")]
        hooks = [what for what in ran if what != "request"]
        if hooks != ["before", "after"]:
            faults.append(f"worker {pid} ran {hooks or 'no hook'}, not [before, after]")
        elif ran[:2] != hooks:
            faults.append(f"worker {pid} served a request before its hooks: {ran}")
    return faults


def play_all(chosen: list[Plan]) -> list[Outcome]:
    """Some at a time; each is printed when it is over."""
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for future in concurrent.futures.as_completed([pool.submit(play, plan) for plan in chosen]):
            outcomes.append(future.result())
            print(outcomes[-1], flush=True)
    return outcomes


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    try:
        with cpu_limit(LIMITS[0]):
            pass
    except NoLimitError as error:
        print(error, file=sys.stderr)
        return 2
    outcomes = play_all(plans(count))
    for percent in LIMITS:
        of = [outcome for outcome in outcomes if outcome.plan.percent == percent]
        bad = sum(bool(outcome.faults) for outcome in of)
        longest = max((outcome.took_s for outcome in of), default=0.0)
        print(f"{percent:2} % of a CPU: {len(of)} lives, {bad} with a worker left out, the longest {longest:.0f} s")
    return int(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
