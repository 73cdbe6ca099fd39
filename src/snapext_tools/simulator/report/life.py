"""A life as lanes: who did what from when to when. Made of the document of `--json`, and pure.

A document that is cut short (an interruption, wrong usage) makes a shorter life: no field of it is required.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snapext_tools.simulator.notices import ERROR_CALLS, WARNINGS, words_of
from snapext_tools.simulator.report.chapters import chapters_of
from snapext_tools.simulator.report.parts import Call, Failure, Lane, Life, Note, Turn
from snapext_tools.simulator.report.turns import turns_of, unfinished

Document = Mapping[str, Any]


def life_of(document: Document) -> Life:
    """The life that a document tells."""
    events = document.get("events", ())
    failures = tuple(_failure(error) for error in document.get("errors", ()))
    ends = [process["ended_at_ms"] for process in document.get("processes", ()) if process["ended_at_ms"] is not None]
    seen_at = [failure.at_ms for failure in failures if failure.at_ms is not None]
    end_ms = max([0.0, *(event["at_ms"] for event in events), *ends, *seen_at])
    turns = turns_of(events, document.get("processes", ()))
    chapters = tuple(chapters_of(events, [turn for _, turn in turns], failures, end_ms))
    turns += unfinished(turns, failures, chapters)
    return Life(
        ok=bool(document.get("ok")),
        command=tuple(document.get("command", ())),
        mode=document.get("mode"),
        init_type=document.get("init_type"),
        adapter=document.get("adapter"),
        environment_id=document.get("environment_id"),
        restore_ms=document.get("restore_ms"),
        hooks_run=document.get("hooks_run", 0),
        started_ms=next((event["at_ms"] for event in events if event["event"] == "runtime_started"), None),
        end_ms=end_ms,
        chapters=chapters,
        lanes=_lanes(document, turns, end_ms),
        calls=tuple(_call(event) for event in events if event["event"] == "invoke"),
        failures=failures,
        notes=tuple(_notes(events)),
    )


def _lanes(document: Document, turns: Sequence[tuple[int, Turn]], end_ms: float) -> tuple[Lane, ...]:
    joined: dict[int, float] = {}
    strangers: dict[int, Lane] = {}
    for event in document.get("events", ()):
        if event["event"] == "process_joined":
            joined.setdefault(event["pid"], event["at_ms"])
        elif event["event"] == "not_linked":
            stranger = Lane(event["pid"], event["name"], event["at_ms"], None, None, end_ms, linked=False)
            strangers.setdefault(event["pid"], stranger)
    lanes = []
    for process in document.get("processes", ()):
        pid, ended_ms = process["pid"], process["ended_at_ms"]
        strangers.pop(pid, None)
        own = tuple(turn for owner, turn in turns if owner == pid)
        until_ms = max([end_ms if ended_ms is None else ended_ms, *(turn.end_ms for turn in own)])
        started_ms = process["started_at_ms"]
        lanes.append(Lane(pid, process["name"], started_ms, joined.get(pid), ended_ms, until_ms, True, own))
    return tuple(sorted([*lanes, *strangers.values()], key=lambda lane: (lane.begins_ms, lane.pid)))


def _call(event: Document) -> Call:
    name = f"{event['method']} {event['path']}" if "method" in event else f"event {event['name']}"
    start_ms = max(0.0, event["at_ms"] - event["duration_ms"])
    answer = str(event.get("status", ""))
    return Call(name, start_ms, event["at_ms"], bool(event["ok"]), answer, str(event.get("body", "")))


def _failure(error: Document) -> Failure:
    words = (error["type"], error["message"], error.get("stack") or "", error.get("seen") or "")
    return Failure(error.get("at_ms"), error["phase"], error.get("pid"), error.get("hook"), *words)


def _notes(events: Sequence[Document]) -> Iterator[Note]:
    for event in events:
        fields = {key: value for key, value in event.items() if key not in ("at_ms", "event")}
        text = words_of(event["event"], fields)
        if text is not None:
            yield Note(event["at_ms"], text, event["event"] in (*WARNINGS, *ERROR_CALLS), event.get("pid"))
