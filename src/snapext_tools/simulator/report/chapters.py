"""The chapters of a life: init, the two phases with the snapshot between them, requests, and the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    at = {event["event"]: event["at_ms"] for event in reversed(events)}  # the first of each name
    begins = {INIT: 0.0}
    restore_ms = at.get("restore", end_ms)
    before = [turn.start_ms for turn in turns if turn.phase == BEFORE_SNAPSHOT and turn.start_ms <= restore_ms]
    seen = [f.at_ms for f in failures if f.phase == BEFORE_SNAPSHOT and f.at_ms is not None]
    before += [at_ms for at_ms in seen if at_ms <= restore_ms]
    if before:
        begins[BEFORE_SNAPSHOT] = min(before)
    snapshot = next((event for event in events if event["event"] == "snapshot"), None)
    if snapshot is not None:
        begins[FROZEN if snapshot["freeze_s"] else SNAPSHOT] = snapshot["at_ms"]
    if "restore" in at:
        begins[AFTER_RESTORE] = at["restore"]
    if "ready" in at:
        begins[REQUESTS] = at["ready"]
    shutdown = next((event for event in events if event["event"] == "shutdown"), None)
    failed_at = [failure.at_ms for failure in failures if failure.at_ms is not None]
    if shutdown is not None:
        begins[SHUTDOWN] = shutdown["at_ms"] - shutdown["duration_ms"]
    elif failed_at:
        begins[STOPPED] = max(failed_at)
    starts, last = [], 0.0
    for kind in CHAPTERS:
        if kind in begins:
            last = max(last, begins[kind])
            starts.append((kind, last))
    for index, (kind, start_ms) in enumerate(starts):
        until_ms = starts[index + 1][1] if index + 1 < len(starts) else end_ms
        if until_ms > start_ms or kind not in (STOPPED, INIT):
            yield Chapter(kind, start_ms, until_ms)
