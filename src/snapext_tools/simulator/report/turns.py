"""The hooks of each process in time: the document has when a phase ended in it, and how long each hook took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snapext.wire.phases import PHASES
from snapext_tools.simulator.report.parts import Chapter, Failure, Hook, Turn

Document = Mapping[str, Any]


def turns_of(events: Sequence[Document], processes: Sequence[Document]) -> list[tuple[int, Turn]]:
    counts = {process["pid"]: process["hooks"] for process in processes}
    found = []
    for event in events:
        if event["event"] in PHASES:
            registered = counts.get(event["pid"], {}).get(event["event"], 0)
            found.append((event["pid"], _turn(event, registered)))
    return found


def _turn(event: Document, registered: int) -> Turn:
    """A turn from its event, which comes at its end. The hooks ran one after another, the last one until then."""
    end_ms = event["at_ms"]
    start_ms = max(0.0, end_ms - event["duration_ms"])
    ran = [(hook["name"], hook["duration_ms"], True) for hook in event["hooks"]]
    if not event["ok"]:
        fallback = f"handler of {event['signal']}" if "signal" in event else "failed"
        ran.append((event.get("failed_hook") or fallback, event.get("failed_hook_ms", event["duration_ms"]), False))
    elif not ran and "signal" in event:
        ran.append((f"handler of {event['signal']}", event["duration_ms"], True))
    hooks: list[Hook] = []
    at_ms = end_ms
    for name, duration_ms, ok in reversed(ran):
        began_ms = max(start_ms, at_ms - duration_ms)
        hooks.insert(0, Hook(name, began_ms, at_ms, ok))
        at_ms = began_ms
    unlisted = registered if event["ok"] and not ran else 0  # an answer too long for one message omits the list
    return Turn(event["event"], start_ms, end_ms, event["ok"], tuple(hooks), unlisted, event.get("signal"))


def unfinished(
    turns: Sequence[tuple[int, Turn]], failures: Sequence[Failure], chapters: Sequence[Chapter]
) -> list[tuple[int, Turn]]:
    """The turns that have no event: the hook that a failure names was still running, or its process died in it.

    When it began is not known: what ran before it in its process has no event either.
    """
    told = {(pid, turn.phase) for pid, turn in turns if not turn.ok}
    begun = {chapter.kind: chapter.start_ms for chapter in chapters}
    found = []
    for failure in failures:
        if failure.pid is None or failure.at_ms is None or failure.hook is None or failure.phase not in begun:
            continue
        if failure.phase in PHASES and (failure.pid, failure.phase) not in told:
            start_ms = min(begun[failure.phase], failure.at_ms)
            hook = Hook(failure.hook, start_ms, failure.at_ms, ok=False, finished=False)
            found.append((failure.pid, Turn(failure.phase, start_ms, failure.at_ms, ok=False, hooks=(hook,))))
    return found
