"""What is good enough, and whether it is: each budget is a ratio or a size, measured in the same run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import invocation, restore, scale, startup
from bench.figures import Estimate, estimate, lines, ratios
from bench.rounds import Figures

SLOPE_UP_TO = 64


@dataclass(frozen=True, slots=True)
class Budget:
    """`limit` is None for a figure that only helps to judge the others."""

    title: str
    measured: Estimate
    limit: float | None
    unit: str = ""
    at_least: bool = False

    @property
    def held(self) -> bool | None:
        if self.limit is None:
            return None
        return self.measured.median >= self.limit if self.at_least else self.measured.median <= self.limit


def budgets(parts: Mapping[str, Figures]) -> list[Budget]:
    """Those that can be judged with the parts that were measured."""
    found: list[Budget] = []
    if "restore" in parts:
        found += _restore(parts["restore"]["restore_ms, 1 worker"], parts["restore"]["ping_cold_ms, 1 worker"])
    if "scale" in parts:
        found += _scale(parts["scale"])
    if "invocation" in parts:
        found += _invocation(parts["invocation"])
    if "startup" in parts:
        found += _startup(parts["startup"])
    return found


def _restore(by_setup: Mapping[str, Sequence[float]], pings: Mapping[str, Sequence[float]]) -> Iterator[Budget]:
    def pairs(ours: str, theirs: str) -> Estimate:
        return estimate(ratios(by_setup[ours], by_setup[theirs]))

    nothing_ms = statistics.median(by_setup[restore.NOTHING])

    def net(setup: str) -> list[float]:
        return [ms - nothing_ms for ms in by_setup[setup]]

    for ours, theirs in (
        (restore.SNAPEXT_STAND_IN, restore.HTTP_STAND_IN),
        (restore.SNAPEXT_BARE, restore.HTTP_BARE),
        (restore.SNAPEXT_REAL, restore.HTTP_BARE),
    ):
        yield Budget(f"restore latency: {ours} / {theirs}", pairs(ours, theirs), 0.6)
    without = "the same without the measuring itself"
    both_net = estimate(ratios(net(restore.SNAPEXT_BARE), net(restore.HTTP_BARE)))
    yield Budget(f"{without}: {restore.SNAPEXT_BARE} / {restore.HTTP_BARE}", both_net, None)
    for name in (restore.SNAPEXT_REAL, restore.SNAPEXT_BARE):
        yield Budget(f"restore latency: {name} / {restore.FLOOR}", pairs(name, restore.FLOOR), 4)
    alone = estimate(ratios(net(restore.SNAPEXT_BARE), pings[restore.FLOOR]))
    yield Budget(f"{without}: {restore.SNAPEXT_BARE} / one cold ping alone", alone, None)


def _scale(figures: Figures) -> Iterator[Budget]:
    slopes = [slope for _, slope in lines(figures[scale.BY_PROCESSES], at_most=SLOPE_UP_TO)]
    yield Budget(
        f"restore latency for each process beyond the first, up to {SLOPE_UP_TO}", estimate(slopes), 0.15, "ms"
    )
    floor = [slope for _, slope in lines(figures[scale.FLOOR], at_most=SLOPE_UP_TO)]
    yield Budget("the floor for each process beyond the first", estimate(floor), None, "ms")


def _invocation(figures: Figures) -> Iterator[Budget]:
    for mode in invocation.MODES:
        by_setup = figures[f"throughput_per_s, {mode}"]
        ours, theirs = by_setup[invocation.WITH], by_setup[invocation.WITHOUT]
        title = f"throughput, {mode}: with snapext / without"
        yield Budget(title, estimate(ratios(ours, theirs)), 0.98, at_least=True)
        noise = estimate(ratios(by_setup[invocation.AGAIN], theirs))
        yield Budget(f"throughput, {mode}: without / without, the noise of this run", noise, None)


def _startup(figures: Figures) -> Iterator[Budget]:
    register = figures["register_ms"]
    ours = register[startup.SNAPEXT]
    yield Budget(
        f"exec to register: snapext / {startup.EXIT_ONLY}", estimate(ratios(ours, register[startup.EXIT_ONLY])), 4
    )
    yield Budget(
        f"exec to register: snapext / {startup.ISOLATED}", estimate(ratios(ours, register[startup.ISOLATED])), 4
    )
    pss = figures["pss_mb"]
    for name in (startup.BEFORE, startup.AFTER):
        yield Budget(f"memory (PSS) of the extension: {name}", estimate(pss[name]), 14, "MB")
    for name, import_ms in figures["import_ms"].items():
        yield Budget(f"import snapext: {name}", estimate(import_ms), 8, "ms")
        both = [a + b for a, b in zip(import_ms, figures["first_hook_ms"][name], strict=True)]
        yield Budget(f"import snapext and register a first hook: {name}", estimate(both), None, "ms")
