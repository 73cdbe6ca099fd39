"""The trace of a life by the documented rules of the Trace Event Format, as Perfetto's importer holds it to them."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from snapext_tools.simulator.report.trace import trace_of
from told_lives import document, error, event, hostile, process, ran, until_restore, whole

SPANS = {"X": {"ph", "name", "cat", "ts", "dur", "pid", "tid", "args"}}
INSTANTS = {"i": {"ph", "name", "cat", "ts", "s", "pid", "tid", "args"}}
NAMES = {"M": {"ph", "name", "ts", "pid", "tid", "args"}}
KEYS = {**SPANS, **INSTANTS, **NAMES}


def events_of(told: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a trace that keeps the rules."""
    text = trace_of(told)
    trace = json.loads(text)
    assert text.isascii()
    assert trace["displayTimeUnit"] == "ms"
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    named, spans = set(), defaultdict(list)
    for entry in trace["traceEvents"]:
        assert set(entry) == KEYS[entry["ph"]]
        assert isinstance(entry["name"], str)
        assert entry["name"]
        assert all(type(entry[key]) is int and entry[key] >= 0 for key in {"ts", "dur", "pid", "tid"} & set(entry))
        if entry["ph"] == "M":
            assert entry["name"] in ("process_name", "thread_name", "process_sort_index")
            assert set(entry["args"]) == {"sort_index" if entry["name"] == "process_sort_index" else "name"}
            named.add((entry["pid"], entry["tid"] if entry["name"] == "thread_name" else entry["name"]))
        elif entry["ph"] == "X":
            spans[entry["pid"], entry["tid"]].append((entry["ts"], -entry["dur"], entry["name"]))
        else:
            assert entry["s"] in ("g", "p", "t")
    for entry in trace["traceEvents"]:
        assert (entry["pid"], "process_name") in named
        assert entry["ph"] == "M" or (entry["pid"], entry["tid"]) in named
    for track in spans.values():
        check_nesting(sorted(track))
    return list(trace["traceEvents"])


def check_nesting(track: list[tuple[int, int, str]]) -> None:
    """In one thread, two spans lie inside of each other or apart: an importer drops the others."""
    ends: list[int] = []
    for ts, minus_dur, name in track:
        end = ts - minus_dur
        while ends and ends[-1] <= ts:
            ends.pop()
        assert not ends or end <= ends[-1], f"{name} ends after the span that it begins in"
        ends.append(end)


def test_a_trace_has_a_span_for_each_hook_the_freeze_the_restore_and_each_invocation() -> None:
    """In microseconds, and with names for processes and threads."""
    events = events_of(whole(11, 12))
    spans = {(e["pid"], e["cat"], e["name"]): (e["ts"], e["dur"]) for e in events if e["ph"] == "X"}
    assert spans[11, "hook", "app.reconnect"] == (3_201_700, 2_000)
    assert spans[11, "hook", "app.token"] == (3_203_700, 400)
    assert spans[11, "phase", "after_restore"] == (3_201_500, 2_600)
    assert spans[1, "chapter", "after_restore"] == (3_200_000, 13_000)
    assert spans[11, "chapter", "frozen"] == spans[1, "chapter", "frozen"] == (2_200_000, 1_000_000)
    assert spans[11, "process", "starts"] == (500_000, 411_000)
    assert spans[1, "invocation", "GET /health"] == (3_226_000, 4_000)
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "process_name"}
    assert names == {(1, 0): "Lambda (simulated)", (11, 0): "gunicorn", (12, 0): "gunicorn"}


def test_a_failure_is_an_instant_with_its_stack_in_its_process() -> None:
    """Or in the platform, where it belongs to none; one that only the end shows stands at the end."""
    errors = [error(3203.1, "after_restore", 1, "app.b", stack="Traceback"), error(None, "verdict", type="HookCount")]
    failed = ran(3203.0, "after_restore", 1, ok=False, failed_hook="app.b", failed_hook_ms=0.5)
    events = events_of(document([*until_restore(1), failed], [process(1)], errors))
    marks = [(e["pid"], e["name"], e["ts"], e["args"]["stack"]) for e in events if e.get("cat") == "failure"]
    assert sorted(marks) == [(1, "HookCount", 3_203_100, ""), (1, "ValueError", 3_203_100, "Traceback")]


OVERLAPPING = document(
    [
        *until_restore(5),
        ran(3204.0, "after_restore", 5, ("app.a", 1.0)),
        ran(3203.9, "after_restore", 5, ("app.b", 1.0)),
        event(3203.0, "invoke", name="e", ok=True, duration_ms=9000.0, body=""),
    ],
    [process(5, started_at_ms=None, ended_at_ms=3000.0)],
    [error(3300.0, "after_restore", 5, "app.hangs"), error(3301.0, "after_restore", 5, "app.other")],
)


@pytest.mark.parametrize("told", [{}, whole(), hostile(), OVERLAPPING], ids=["nothing", "empty", "hostile", "overlap"])
def test_every_life_makes_a_trace_that_keeps_the_rules(told: dict[str, Any]) -> None:
    """Whatever the app says, and where two times of the document contradict each other."""
    events_of(told)
