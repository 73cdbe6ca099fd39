"""A life as Chrome trace events, which Perfetto and chrome://tracing open.

The format: "Trace Event Format" by the Chromium project. Times are whole microseconds; in one thread the spans either
lie inside of each other or apart, as the format demands of complete events.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from snapext_tools.simulator.report.life import life_of
from snapext_tools.simulator.report.parts import FROZEN, Failure, Lane, Life, Turn

PLATFORM = 1
"""The platform's process in the trace: the pid of no process of ours."""
_CHAPTERS, _INVOCATIONS, _NOTICES = 1, 2, 3

Event = dict[str, Any]


def trace_of(document: Mapping[str, Any]) -> str:
    """A JSON document in ASCII."""
    life = life_of(document)
    about = {
        "ok": life.ok,
        "command": list(life.command),
        "init_type": life.init_type,
        "mode": life.mode,
        "adapter": life.adapter,
        "environment_id": life.environment_id,
    }
    events = list(_platform(life))
    for number, lane in enumerate(life.lanes, 1):
        events += _process(number, lane, life)
    lines = ",\n".join(json.dumps(event) for event in _nested(events))
    return f'{{"traceEvents": [\n{lines}\n], "displayTimeUnit": "ms", "otherData": {json.dumps(about)}}}\n'


def _nested(events: Iterable[Event]) -> list[Event]:
    """The events, with the spans of each thread inside of each other or apart: where times disagree, a span is cut."""
    spans = sorted((e for e in events if e["ph"] == "X"), key=lambda e: (e["pid"], e["tid"], e["ts"], -e["dur"]))
    ends: dict[tuple[int, int], list[int]] = defaultdict(list)
    for span in spans:
        around = ends[span["pid"], span["tid"]]
        while around and around[-1] <= span["ts"]:
            around.pop()
        end = min([span["ts"] + span["dur"], *around[-1:]])
        span["dur"] = end - span["ts"]
        around.append(end)
    return [*(e for e in events if e["ph"] != "X"), *spans]


def _platform(life: Life) -> Iterator[Event]:
    yield from _names(PLATFORM, "Lambda (simulated)", 0)
    yield _name(PLATFORM, _CHAPTERS, "chapters")
    for chapter in life.chapters:
        yield _span(PLATFORM, _CHAPTERS, "chapter", chapter.kind, chapter.start_ms, chapter.end_ms)
    if life.started_ms is not None:
        yield _instant(PLATFORM, _CHAPTERS, "process", "the start command is started", life.started_ms, {})
    yield _name(PLATFORM, _INVOCATIONS, "invocations")
    for call in life.calls:
        args = {"ok": call.ok, "answer": call.answer}
        yield _span(PLATFORM, _INVOCATIONS, "invocation", call.name, call.start_ms, call.end_ms, args)
    yield _name(PLATFORM, _NOTICES, "notices")
    for note in life.notes:
        yield _instant(PLATFORM, _NOTICES, "notice", note.text, note.at_ms, {"pid": note.pid})
    pids = {lane.pid for lane in life.lanes}
    for failure in life.failures:
        if failure.pid not in pids:
            yield _failure_at(PLATFORM, _NOTICES, failure, life.end_ms)


def _process(number: int, lane: Lane, life: Life) -> Iterator[Event]:
    yield from _names(lane.pid, lane.name, number)
    yield _name(lane.pid, lane.pid, "hooks")
    yield _span(lane.pid, lane.pid, "process", "process", lane.begins_ms, lane.until_ms)
    frozen = next((chapter for chapter in life.chapters if chapter.kind == FROZEN), None)
    if lane.started_ms is not None and lane.joined_ms is not None:
        yield _span(lane.pid, lane.pid, "process", "starts", lane.started_ms, lane.joined_ms)
    for turn in lane.turns:
        yield from _turn(lane, turn)
    if frozen is not None and lane.begins_ms <= frozen.start_ms and frozen.end_ms <= lane.until_ms:
        yield _span(lane.pid, lane.pid, "chapter", "frozen", frozen.start_ms, frozen.end_ms)
    for failure in life.failures:
        if failure.pid == lane.pid:
            yield _failure_at(lane.pid, lane.pid, failure, life.end_ms)


def _turn(lane: Lane, turn: Turn) -> Iterator[Event]:
    args: Event = {"ok": turn.ok} if turn.signal is None else {"ok": turn.ok, "signal": turn.signal}
    yield _span(lane.pid, lane.pid, "phase", turn.phase, turn.start_ms, turn.end_ms, args)
    for hook in turn.hooks:
        args = {"phase": turn.phase, "ok": hook.ok, "finished": hook.finished}
        yield _span(lane.pid, lane.pid, "hook", hook.name, hook.start_ms, hook.end_ms, args)


def _failure_at(pid: int, tid: int, failure: Failure, end_ms: float) -> Event:
    args = {"message": failure.message, "hook": failure.hook, "phase": failure.phase, "stack": failure.stack}
    return _instant(pid, tid, "failure", failure.type, end_ms if failure.at_ms is None else failure.at_ms, args)


def _names(pid: int, name: str, index: int) -> Iterator[Event]:
    yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "ts": 0, "args": {"name": name}}
    yield {"ph": "M", "name": "process_sort_index", "pid": pid, "tid": 0, "ts": 0, "args": {"sort_index": index}}


def _name(pid: int, tid: int, name: str) -> Event:
    return {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}}


def _span(
    pid: int, tid: int, category: str, name: str, start_ms: float, end_ms: float, args: Mapping[str, Any] | None = None
) -> Event:
    ts = _us(start_ms)
    what = {"ph": "X", "cat": category, "name": name, "pid": pid, "tid": tid}
    return {**what, "ts": ts, "dur": _us(end_ms) - ts, "args": dict(args or {})}


def _instant(pid: int, tid: int, category: str, name: str, at_ms: float, args: Mapping[str, Any]) -> Event:
    what = {"ph": "i", "s": "t", "cat": category, "name": name, "pid": pid, "tid": tid}
    return {**what, "ts": _us(at_ms), "args": dict(args)}


def _us(ms: float) -> int:
    return round(ms * 1000)
