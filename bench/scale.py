"""How restore latency grows with processes and with hooks, and the cost of each."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import psutil

from bench.kernel import cpu_ms
from bench.life import RUNTIME, Life, Setup
from bench.rounds import Measure, Result, interleave
from bench.stage import REAL, Stage

PROCESSES = (1, 2, 4, 8, 16, 32, 64, 128)
HOOKS = (1, 10, 100)
EXTENSION_CPU, PROCESS_CPU = "extension_cpu_ms by processes", "process_cpu_ms by processes"
BY_PROCESSES, BY_HOOKS, FLOOR = "restore_ms by processes", "restore_ms by hooks", "floor_ms by processes"


def measure(
    stage: Stage,
    rounds: int,
    tell: Callable[[str], None],
    processes: tuple[int, ...] = PROCESSES,
    hooks: tuple[int, ...] = HOOKS,
) -> Result:
    """The set-ups are named by their numbers. First one hook in each process, then several hooks in one process."""
    lives: dict[str, Measure] = {}
    for count in processes:
        lives[f"{count} processes"] = _life(stage, BY_PROCESSES, count, 1)
        lives[f"{count} at the floor"] = _floor(stage, count)
    lives |= {f"{count} hooks": _life(stage, BY_HOOKS, 1, count) for count in hooks}
    result = interleave(lives, rounds, tell)
    result.figures = {
        metric: {name.split()[0]: samples for name, samples in by_setup.items()}
        for metric, by_setup in result.figures.items()
    }
    return result


def _life(stage: Stage, metric: str, processes: int, hooks: int) -> Measure:
    command = ("{python}", "many.py", str(processes), str(hooks))
    setup = Setup(command, REAL, snapext=True, workers=processes)

    def live() -> Mapping[str, float]:
        with Life(setup, stage) as life:
            extension, linked = (
                life.extension_pid,
                [child.pid for child in psutil.Process(life.pid(RUNTIME)).children()],
            )
            before = {pid: cpu_ms(pid) for pid in (extension, *linked)}
            measured = {metric: life.restore().restore_ms}
            if metric == BY_PROCESSES:
                ran = {pid: cpu_ms(pid) - ms for pid, ms in before.items()}
                measured |= {EXTENSION_CPU: ran.pop(extension), PROCESS_CPU: statistics.mean(ran.values())}
            return measured

    return live


def _floor(stage: Stage, processes: int) -> Measure:
    """One bare process sends to `processes` others, and reads from each."""
    setup = Setup(("{python}", "-I", "-S", "floor.py", str(processes)))

    def live() -> Mapping[str, float]:
        with Life(setup, stage) as life:
            return {FLOOR: life.restore().restore_ms}

    return live
