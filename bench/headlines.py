"""The headlines of a run: the title of each, how to take it from the figures, and its budget, if it has one."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench import footprint, integrations, invocation, limited, middleware, restore, scale, startup
from bench.figures import lines, ratios
from bench.rounds import Figures

CLOCK = middleware.CLOCK
SLOPE_UP_TO = 64
LISTEN_TIMES = 7.3
"""Half of its first measurement, with Python 3.12: 14.6 times the start of a bare interpreter."""

Parts = Mapping[str, Figures]
Take = Callable[[Parts], list[float]]
"""Takes one figure per round. Raises KeyError if it was not measured, as in an older record."""


@dataclass(frozen=True, slots=True)
class Headline:
    """`budget`: the good-enough value, at most or `at_least`; None for a figure that helps to judge the others.

    `beside`: a figure of the same rounds that slows down with the machine; runs are compared by the ratio to it.
    `compared`: whether another run should have the same figure.
    """

    part: str
    title: str
    take: Take
    budget: float | None = None
    unit: str = ""
    at_least: bool = False
    beside: Take | None = None
    compared: bool = True


def taken(take: Take, parts: Parts) -> list[float]:
    """The figures; empty if this run has none."""
    try:
        return take(parts)
    except KeyError:
        return []


def figure(part: str, metric: str, setup: str) -> Take:
    return lambda parts: [*parts[part][metric][setup]]


def ratio(numerator: Take, denominator: Take) -> Take:
    return lambda parts: ratios(numerator(parts), denominator(parts))


def times(numerator: Take, denominator: Take) -> Take:
    """Over the median of the denominator: in a short run its single figures lie about 0. Not measured if that does."""

    def take(parts: Parts) -> list[float]:
        values, middle = numerator(parts), statistics.median(denominator(parts))
        if middle <= 0:
            raise KeyError(middle)
        return [value / middle for value in values]

    return take


def total(first: Take, second: Take) -> Take:
    return lambda parts: [a + b for a, b in zip(first(parts), second(parts), strict=True)]


def net(setup: str) -> Take:
    """A restore of one worker, without the cost of measuring it."""

    def take(parts: Parts) -> list[float]:
        by_setup = parts["restore"][RESTORE]
        nothing_ms = statistics.median(by_setup[restore.NOTHING])
        return [ms - nothing_ms for ms in by_setup[setup]]

    return take


def slope(metric: str, at_most: int | None = None) -> Take:
    """The cost of each further one, by the line of each round."""
    return lambda parts: [each for _, each in lines(parts["scale"][metric], at_most=at_most)]


RESTORE = "restore_ms, 1 worker"
REAL, BARE, HTTP = restore.SNAPEXT_REAL, restore.SNAPEXT_BARE, restore.HTTP_BARE
PING = figure("restore", "ping_cold_ms, 1 worker", restore.FLOOR)
BARE_START = figure("startup", "register_ms", startup.EXIT_ONLY)
REGISTER = figure("startup", "register_ms", startup.SNAPEXT)
LISTEN = figure("startup", "listen_ms", startup.SNAPEXT)
FLOOR = figure("scale", scale.FLOOR, "1")
EACH_PROCESS, EACH_LINE = slope(scale.BY_PROCESSES, SLOPE_UP_TO), slope(scale.FLOOR, SLOPE_UP_TO)
LIMITED = f"at {limited.CPU_PERCENT / 100:g} CPU"


def _pages(title: str, process: str, budget: float) -> tuple[Headline, ...]:
    return (
        Headline("footprint", title, figure("footprint", "pages", process), budget, "pages"),
        Headline("footprint", f"{title}, its own ones", figure("footprint", "own pages", process), unit="pages"),
    )


def _restores(ours: str, theirs: str, budget: float) -> Headline:
    take = ratio(figure("restore", RESTORE, ours), figure("restore", RESTORE, theirs))
    return Headline("restore", f"restore: {ours} / {theirs}", take, budget)


def _starts(name: str, first_hook: float | None) -> tuple[Headline, ...]:
    imported = figure("startup", "import_ms", name)
    both = total(imported, figure("startup", "first_hook_ms", name))
    title = f"`import snapext` and the first hook, {name}"
    return (
        Headline("startup", title, both, first_hook, "ms", beside=BARE_START),
        Headline("startup", f"`import snapext`, {name}", imported, 8, "ms", beside=BARE_START),
    )


def _throughput(mode: str) -> tuple[Headline, ...]:
    ours, without, again = (
        figure("invocation", f"throughput_per_s, {mode}", name)
        for name in (invocation.WITH, invocation.WITHOUT, invocation.AGAIN)
    )
    title, noise = f"throughput, {mode}:", ratio(again, without)
    return (
        Headline(
            "invocation", f"{title} with snapext / without", ratio(ours, without), 0.98, at_least=True, beside=noise
        ),
        Headline("invocation", f"{title} without / without, the noise of this run", noise, compared=False),
    )


def _limited(words: str) -> tuple[Headline, ...]:
    """A restore as a user sees it in a small function. The same rounds have the floor under the same limit."""
    floor = figure("limited", f"restore_ms, {words}", restore.FLOOR)
    return tuple(
        Headline("limited", f"{what} {LIMITED}, {words}: {name}", take, unit="ms", beside=floor, compared=name == REAL)
        for what, metric in (("restore", "restore_ms"), ("first response", "first_response_ms"))
        for name in (REAL, HTTP)
        for take in (figure("limited", f"{metric}, {words}", name),)
    )


HEADLINES: tuple[Headline, ...] = (
    *_pages("pages that a linked process touches in a restore", footprint.APP_SNAPEXT, 420),
    *_pages("pages that the extension touches in a restore", footprint.EXTENSION_SNAPEXT, 650),
    Headline("restore", f"restore without the measuring itself: {BARE} / one cold ping", ratio(net(BARE), PING), 5),
    Headline("restore", "one cold ping: a line between two bare processes, and back", PING, unit="ms", compared=False),
    Headline("restore", f"restore without the measuring itself: {BARE} / {HTTP}", ratio(net(BARE), net(HTTP))),
    _restores(BARE, HTTP, 0.75),
    _restores(restore.SNAPEXT_STAND_IN, restore.HTTP_STAND_IN, 0.75),
    _restores(REAL, HTTP, 0.75),
    _restores(BARE, restore.FLOOR, 4),
    _restores(REAL, restore.FLOOR, 4),
    Headline("scale", f"each further process, up to {SLOPE_UP_TO}", EACH_PROCESS, 0.10, "ms", beside=FLOOR),
    Headline("scale", "each further process / a bare line there and back", times(EACH_PROCESS, EACH_LINE), 4),
    Headline(
        "scale", "a bare line there and back: the floor's each further process", EACH_LINE, unit="ms", compared=False
    ),
    Headline("scale", "each further hook", slope(scale.BY_HOOKS), 0.01, "ms", beside=FLOOR),
    *_starts(startup.PIP, 25),
    *_starts(startup.BESIDE_UVICORN, 8),
    *_starts(startup.LAYER, None),
    Headline("startup", f"exec to register: snapext / {startup.EXIT_ONLY}", ratio(REGISTER, BARE_START), 1.8),
    Headline(
        "startup",
        f"exec to register: snapext / {startup.ISOLATED}",
        ratio(REGISTER, figure("startup", "register_ms", startup.ISOLATED)),
    ),
    Headline(
        "startup", f"from register until it listens / {startup.EXIT_ONLY}", ratio(LISTEN, BARE_START), LISTEN_TIMES
    ),
    Headline("startup", "from register until it listens", LISTEN, unit="ms", beside=BARE_START, compared=False),
    *(
        Headline("startup", f"memory (PSS) of the extension: {name}", figure("startup", "pss_mb", name), 10, "MB")
        for name in (startup.BEFORE, startup.AFTER)
    ),
    *_throughput("buffered"),
    *_throughput("streaming"),
    *(
        Headline("middleware", f"a request before the restore, {kind}: what the middleware adds / {CLOCK}", take, 8)
        for kind in (middleware.ASGI, middleware.WSGI)
        for take in (
            ratio(figure("middleware", middleware.BEFORE, kind), figure("middleware", middleware.BEFORE, CLOCK)),
        )
    ),
    *(
        Headline(
            "integrations", f"{metric} of `install_all()`: {name}", figure("integrations", metric, name), unit="ms"
        )
        for metric in (integrations.INSTALL, integrations.AFTER)
        for name in (integrations.NOTHING, integrations.SQLALCHEMY, integrations.DJANGO)
    ),
    *_limited("1 worker"),
    *_limited("4 workers"),
    Headline(
        "limited",
        f"exec to register {LIMITED}",
        figure("limited", "register_ms", startup.SNAPEXT),
        unit="ms",
        beside=figure("limited", "register_ms", startup.EXIT_ONLY),
    ),
    Headline(
        "limited",
        f"`import snapext` and the first hook {LIMITED}, {startup.PIP}",
        total(figure("limited", "import_ms", startup.PIP), figure("limited", "first_hook_ms", startup.PIP)),
        unit="ms",
        beside=figure("limited", "register_ms", startup.EXIT_ONLY),
    ),
)
