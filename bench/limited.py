"""Small functions: restores and starts with 0.1 CPU. On Lambda 1,769 MB get one CPU, so 177 MB get this much."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import restore, startup
from bench.cpu_limit import NoLimitError, cpu_limit
from bench.life import Life, Setup
from bench.rounds import Measure, Result, interleave
from bench.stage import Stage

CPU_PERCENT = 10
COMPARED = (restore.SNAPEXT_REAL, restore.HTTP_BARE, restore.FLOOR)
STARTS = ("register_ms", "import_ms", "first_hook_ms")


def measure(stage: Stage, rounds: int, tell: Callable[[str], None], workers: tuple[int, ...] = (1, 4)) -> Result:
    """Metrics are named `restore_ms, 1 worker` and so on. Without a control group: no metrics, and the reason."""
    try:
        with cpu_limit(CPU_PERCENT):
            pass
    except NoLimitError as error:
        return Result(missing=str(error))
    result = Result(rounds=rounds)
    for count in workers:
        words = "1 worker" if count == 1 else f"{count} workers"
        setups = restore.setups(count)
        lives = {name: life(stage, name, setups[name]) for name in COMPARED}
        part = interleave(lives, rounds, lambda line, words=words: tell(f"{words}, {line}"))  # type: ignore[misc]
        result.figures |= {f"{metric}, {words}": by_setup for metric, by_setup in part.figures.items()}
        result.dropped += part.dropped
    part = interleave(starts(stage), rounds, lambda line: tell(f"starts, {line}"))
    result.figures |= part.figures
    result.dropped += part.dropped
    result.warm_up = part.warm_up
    return result


def life(stage: Stage, name: str, setup: Setup) -> Measure:
    """A restore with the whole environment in the group. The platform stays outside, as on Lambda."""

    def live() -> Mapping[str, float]:
        with Life(dataclasses.replace(setup, cpu_percent=CPU_PERCENT), stage) as one:
            throttled_ms = one.throttled_ms()
            restored = one.restore()
            measured = {
                "restore_ms": restored.restore_ms,
                "first_response_ms": restored.first_response_ms,
                "throttled_ms": one.throttled_ms() - throttled_ms,
            }
            if name == restore.FLOOR:
                del measured["first_response_ms"]  # it serves nothing
            return measured

    return live


def starts(stage: Stage) -> dict[str, Measure]:
    """From `exec` to register beside a bare interpreter, and the first hook in a bare Python."""
    launcher = [str(stage.layer / "extensions" / "snapext")]
    return {
        startup.SNAPEXT: _grouped(lambda group: startup.start(stage, launcher, group)),
        startup.EXIT_ONLY: _grouped(lambda group: startup.exit_only(stage, group)),
        startup.PIP: _grouped(
            lambda group: startup.import_snapext(stage, stage.python, startup.as_pip_installs(stage), group=group)
        ),
    }


def _grouped(measure_in: Callable[[Path], Measure]) -> Measure:
    """Give each start a new group: one start must not use up the quota of the next."""

    def once() -> Mapping[str, float]:
        with cpu_limit(CPU_PERCENT) as group:
            return {name: value for name, value in measure_in(group)().items() if name in STARTS}

    return once
