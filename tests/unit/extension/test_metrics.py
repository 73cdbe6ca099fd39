"""The lines that CloudWatch makes metrics of, and when they are written."""

from __future__ import annotations

import json
import os

import pytest

from emf import metrics_of
from helpers import for_each
from snapext.wire.messages import Done, HookTiming
from snapext_extension import metrics
from snapext_extension.boundary.measures import Measures
from snapext_extension.metrics import MetricsLog

ENVIRON = {"AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_FUNCTION_VERSION": "7"}
MEASURED = {"hooks": 3, "slowest_hook": "app.open", "slowest_hook_ms": 4.25, "slowest_process_ms": 5.5}
READY = {"processes": 2, "duration_ms": 6.125, **MEASURED}
SNAPSHOT = {"processes": 2, "duration_ms": 80.5, **MEASURED}
FAILED = {"phase": "after_restore", "hook": "app.open", "error_type": "Runtime.AfterRestoreError", "message": "…"}
MS, COUNT = "Milliseconds", "Count"


class Clock:
    """The offset of the wall clock to CLOCK_MONOTONIC."""

    offset_s = 1_790_000_000.0


class Lines:
    """A log with metrics on a pipe, and its lines."""

    def __init__(self, level="info"):
        self._read, self._write = os.pipe()
        self.held = 0
        self.log = MetricsLog(ENVIRON, level, self._write)
        self.log.when_held = self._on_held

    def _on_held(self):
        self.held += 1

    def take(self):
        os.write(self._write, b"\n")
        return [line for line in os.read(self._read, 1 << 16).decode().splitlines() if line]

    def close(self):
        self.log.close()
        os.close(self._read)
        os.close(self._write)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(metrics, "_offset_s", lambda: clock.offset_s)
    return clock


@pytest.fixture
def lines(clock):
    lines = Lines()
    yield lines
    lines.close()


@for_each(
    "level, event, fields, found",
    [
        (
            *("info", "ready", READY),
            {
                "RestoreMs": (6.125, MS),
                "AfterRestoreMs": (5.5, MS),
                "SlowestHookMs": (4.25, MS),
                "Processes": (2, COUNT),
                "Hooks": (3, COUNT),
                "Failures": (0, COUNT),
                "FailedHooks": (0, COUNT),
            },
        ),
        (
            *("info", "snapshot", SNAPSHOT),
            {"BeforeSnapshotMs": (80.5, MS), "Failures": (0, COUNT), "FailedHooks": (0, COUNT)},
        ),
        ("error", "failed", FAILED, {"Failures": (1, COUNT), "FailedHooks": (1, COUNT)}),
        ("error", "failed", {**FAILED, "hook": None}, {"Failures": (1, COUNT), "FailedHooks": (0, COUNT)}),
    ],
)
def test_each_line_with_metrics_is_a_document_of_the_format(level, event, fields, found, clock):
    """By the rules of the specification, and with all that the line says without metrics. The level lets it pass."""
    for at_level in ("debug", "error"):
        lines = Lines(at_level)
        lines.log.write(level, event, **fields)
        (line,) = lines.take()
        lines.close()

        assert metrics_of(line) == found
        root = json.loads(line)
        assert {**fields, "level": level, "event": event, "source": "snapext"}.items() <= root.items()
        directive = root["_aws"]["CloudWatchMetrics"][0]
        assert directive["Namespace"] == "snapext"
        assert directive["Dimensions"] == [["FunctionName"], ["FunctionName", "FunctionVersion"]]
        assert (root["FunctionName"], root["FunctionVersion"]) == ("shop", "7")
        assert len(line) < 1_000


def test_all_other_lines_are_as_ever(clock):
    """No metrics in them, and the level counts."""
    lines = Lines("warning")
    lines.log.write("info", "waiting", message="…")
    lines.log.write("warning", "settings", message="…")
    (line,) = lines.take()
    lines.close()

    assert "_aws" not in json.loads(line)


def test_a_line_that_lacks_what_a_metric_is_made_of_is_written_without(lines):
    """A restore does not fail because of it, and a warning says so."""
    lines.log.write("info", "ready", processes=2, duration_ms=6.0)
    ready, warning = map(json.loads, lines.take())

    assert (ready["event"], ready["processes"], "_aws" in ready) == ("ready", 2, False)
    assert warning["message"] == "ready has no metrics: KeyError('slowest_process_ms')"


def test_while_the_clock_is_the_snapshots_the_metrics_wait(lines, clock):
    """The line itself does not. When the clock has been set they follow, with its time, once."""
    lines.log.write("info", "snapshot", **SNAPSHOT)
    assert lines.held == 0
    lines.log.write("info", "ready", **READY)
    snapshot, ready = lines.take()
    assert "_aws" in snapshot
    assert "_aws" not in ready
    assert lines.held == 1

    lines.log.release()
    lines.log.release()
    (line,) = lines.take()
    assert json.loads(line)["event"] == "metrics"
    assert metrics_of(line)["RestoreMs"] == (6.125, MS)


def test_a_clock_that_has_been_set_is_not_waited_for(lines, clock):
    """Neither right after the restore nor for a failure that comes later."""
    lines.log.write("info", "snapshot", **SNAPSHOT)
    clock.offset_s += 60
    lines.log.write("info", "ready", **READY)
    lines.log.write("error", "failed", **FAILED)

    assert len([metrics_of(line) for line in lines.take()]) == 3
    assert lines.held == 0


def test_what_waits_is_written_before_the_end(lines, clock):
    """A failure in a clone whose clock nobody sets."""
    lines.log.write("info", "snapshot", **SNAPSHOT)
    lines.log.write("error", "failed", **FAILED)
    lines.take()
    lines.log.close()
    (line,) = lines.take()

    assert metrics_of(line)["Failures"] == (1, COUNT)


def test_a_function_without_a_name_has_dimensions_all_the_same(clock):
    """An empty value of a dimension would make the whole line invalid."""
    read, write = os.pipe()
    MetricsLog({"AWS_LAMBDA_FUNCTION_NAME": ""}, "info", write).write("error", "failed", **FAILED)
    line = os.read(read, 1 << 16).decode()
    os.close(read)
    os.close(write)

    assert metrics_of(line)
    assert json.loads(line)["FunctionName"] == "unknown"


def done(duration_ms, *hooks):
    return Done(1, True, duration_ms, tuple(HookTiming(name, hook_ms) for name, hook_ms in hooks))


def test_the_slowest_of_all_members_counts():
    """The slowest hook may be in another process than the one that took longest."""
    measures = Measures()
    measures.take(done(5.0, ("a", 1.0), ("b", 1.5)), 2)
    measures.take(done(3.0, ("c", 2.5)), 1)

    assert measures.fields() == {
        "hooks": 3,
        "slowest_hook": "c",
        "slowest_hook_ms": 2.5,
        "slowest_process_ms": 5.0,
    }
    measures.begin()
    assert measures.fields()["hooks"] == 0
    assert measures.fields()["slowest_hook"] is None


def test_an_answer_that_names_no_hook_counts_as_a_whole():
    """A handler that was signalled, or more hooks than a message holds. A process without hooks has none."""
    measures = Measures()
    measures.take(done(1.0), 0)
    assert measures.fields()["slowest_hook_ms"] == 0
    measures.take(done(4.0, ("a", 2.0)), 1)
    measures.take(done(7.0), 500)

    assert measures.fields() == {
        "hooks": 501,
        "slowest_hook": None,
        "slowest_hook_ms": 7.0,
        "slowest_process_ms": 7.0,
    }
