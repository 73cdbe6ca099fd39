"""The page's axis of time. A restore takes milliseconds and init takes seconds: each chapter has a scale of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.report.parts import FROZEN, INIT, REQUESTS, SHUTDOWN, SNAPSHOT, STOPPED, Chapter

_SHARES = {
    INIT: 21,
    BEFORE_SNAPSHOT: 18,
    SNAPSHOT: 9,
    FROZEN: 9,
    AFTER_RESTORE: 26,
    REQUESTS: 18,
    SHUTDOWN: 11,
    STOPPED: 11,
}
_SHARE_OF_A_TICK = 7
_ROOM_FOR_A_TICK = 6
"""Its text, in percent: a tick nearer to the end of its chapter would run into the next one."""


@dataclass(frozen=True, slots=True)
class Column:
    """A chapter's place on the axis, in percent of its width."""

    chapter: Chapter
    left: float
    width: float

    @property
    def length_ms(self) -> float:
        return self.chapter.end_ms - self.chapter.start_ms

    def place(self, at_ms: float) -> float:
        part = (at_ms - self.chapter.start_ms) / self.length_ms if self.length_ms > 0 else 0.0
        return self.left + self.width * min(max(part, 0.0), 1.0)

    def ticks(self) -> Iterator[float]:
        """Round times after the chapter's start, in ms, and as many as there is room for."""
        most = int(self.width // _SHARE_OF_A_TICK)
        if most < 1 or self.length_ms <= 0:
            return
        step = _round_step(self.length_ms / most)
        last_ms = self.length_ms * (1 - _ROOM_FOR_A_TICK / self.width)
        number = 1
        while number * step <= last_ms:
            yield number * step
            number += 1


class Axis:
    """The chapters side by side, over the whole width."""

    def __init__(self, chapters: Sequence[Chapter]) -> None:
        whole = sum(_SHARES[chapter.kind] for chapter in chapters)
        left, columns = 0.0, []
        for chapter in chapters:
            width = 100 * _SHARES[chapter.kind] / whole
            columns.append(Column(chapter, left, width))
            left += width
        self.columns = tuple(columns)

    def span(self, start_ms: float, end_ms: float) -> tuple[float, float]:
        """Where a stretch of time begins, and how wide it is, in percent."""
        begins = next((column for column in reversed(self.columns) if column.chapter.start_ms <= start_ms), None)
        ends = next((column for column in self.columns if end_ms <= column.chapter.end_ms), None)
        left = begins.place(start_ms) if begins else 0.0
        right = ends.place(end_ms) if ends else 100.0
        return left, max(0.0, right - left)

    def point(self, at_ms: float) -> float:
        return self.span(at_ms, at_ms)[0]


def _round_step(at_least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is not below."""
    power = 10.0**-3
    while True:
        for digit in (1, 2, 5):
            if digit * power >= at_least:
                return digit * power
        power *= 10
