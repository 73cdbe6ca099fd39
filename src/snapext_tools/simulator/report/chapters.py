"""The chapters of a life: init, the two phases with the snapshot between them, requests, and the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.report.parts import (
    CHAPTERS,
    FROZEN,
    INIT,
    REQUESTS,
    SHUTDOWN,
    SNAPSHOT,
    STOPPED,
    Chapter,
    Failure,
    Turn,
)

Document = Mapping[str, Any]


def chapters_of(
    events: Sequence[Document], turns: Sequence[Turn], failures: Sequence[Failure], end_ms: float
) -> Iterator[Chapter]:
    """The chapters that the life has got to, each until the next begins."""
    first = {event["event"]: event for event in reversed(events)}
    begins = {INIT: 0.0}
    before_ms = _hooks_begin(events, turns, failures, first["restore"]["at_ms"] if "restore" in first else end_ms)
    if before_ms is not None:
        begins[BEFORE_SNAPSHOT] = before_ms
    if "snapshot" in first:
        begins[FROZEN if first["snapshot"]["freeze_s"] else SNAPSHOT] = first["snapshot"]["at_ms"]
    if "restore" in first:
        begins[AFTER_RESTORE] = first["restore"]["at_ms"]
    if "ready" in first:
        begins[REQUESTS] = first["ready"]["at_ms"]
    failed_at = [failure.at_ms for failure in failures if failure.at_ms is not None]
    if "shutdown" in first:
        begins[SHUTDOWN] = first["shutdown"]["at_ms"] - first["shutdown"]["duration_ms"]
    elif failed_at:
        begins[STOPPED] = max(failed_at)
    # Without snapext nobody asks for the restore, and there is no such phase.
    empty = (INIT, STOPPED, AFTER_RESTORE) if "ready" in first else (INIT, STOPPED)
    kinds = [kind for kind in CHAPTERS if kind in begins]
    starts = list(accumulate((begins[kind] for kind in kinds), max))
    for kind, start_ms, until_ms in zip(kinds, starts, [*starts[1:], end_ms], strict=True):
        if until_ms > start_ms or kind not in empty:
            yield Chapter(kind, start_ms, until_ms)


def _hooks_begin(
    events: Sequence[Document], turns: Sequence[Turn], failures: Sequence[Failure], restore_ms: float
) -> float | None:
    """When the hooks before the snapshot began: with the first that finished.

    If none did, the document does not say when: after the last process joined.
    """
    began = [turn.start_ms for turn in turns if turn.phase == BEFORE_SNAPSHOT and turn.start_ms <= restore_ms]
    if began:
        return min(began)
    failed = [f.at_ms for f in failures if f.phase == BEFORE_SNAPSHOT and f.at_ms is not None and f.at_ms <= restore_ms]
    if not failed:
        return None
    joined = [event["at_ms"] for event in events if event["event"] == "process_joined"]
    return max((at_ms for at_ms in joined if at_ms <= failed[0]), default=failed[0])
