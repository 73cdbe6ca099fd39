"""SNAPEXT_METRICS=emf in real lives: what the extension writes, and what the documents say of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alone import Life
from emf import metrics_of
from helpers import LIMIT_S, ROOT, wait_until
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Checkpoint, Done, HookFailure, HookTiming, Result

METRICS = {"SNAPEXT_METRICS": "emf", "AWS_LAMBDA_FUNCTION_NAME": "shop", "AWS_LAMBDA_FUNCTION_VERSION": "7"}
MEASURED = ("hooks", "slowest_hook", "slowest_hook_ms", "slowest_process_ms")
NO_FIELDS = {
    *("filter", "fields", "stats", "sort", "limit", "count", "max", "pct", "bin"),
    *("and", "as", "by", "desc", "in"),
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def play(stack: ExitStack, folder: Path, *, ok: bool, straight: bool, **env: str) -> list[str]:
    """A life with one process, whose after-restore hook fails if not ok; returns the lines of the extension's log.

    straight: no command waits for the end, so that nothing is unusual about the restore.
    """
    log = folder / "log"
    life = Life(stack, folder)
    with log.open("wb") as stdout:
        life.start(stdout.fileno(), **env, SNAPEXT_SETTLE_MS="0")
    app, command = life.connect("app"), life.connect("control")
    command.say(Checkpoint())
    for phase in (BeforeSnapshot, AfterRestore):
        if phase is AfterRestore:
            if straight:
                command.socket.close()
            life.platform.wait_init_end(LIMIT_S)
            life.platform.restore()
        told = app.next(phase)
        assert isinstance(told, BeforeSnapshot | AfterRestore)
        good = ok or phase is BeforeSnapshot
        error = None if good else HookFailure("OSError", "no database", "the stack", "app.connect")
        app.say(Done(told.id, good, 2.5, (HookTiming("app.connect", 2.0),) if good else (), error))
    assert straight or command.next(Result)
    if ok:
        # Nobody has set the clock since the snapshot: they come when they have waited for that long enough.
        wait_until(lambda: '"RestoreMs"' in log.read_text())
    life.platform.shutdown()
    life.process.wait(LIMIT_S)
    return log.read_text().splitlines()


def queries(page: str) -> list[tuple[str, set[str]]]:
    """The queries of a page for CloudWatch Logs Insights, and the fields that each names."""
    found = []
    for query in re.findall(r"^```text\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.MULTILINE | re.DOTALL):
        words = re.sub(r'"[^"]*"|as \w+|@\w+', " ", query)
        aliases = set(re.findall(r"as (\w+)", query))
        names = set(re.findall(r"\b[A-Za-z_]\w*", words))
        found.append((query, names - NO_FIELDS - aliases))
    return found


def test_a_life_has_the_metrics_that_the_page_names_and_the_fields_that_the_queries_ask_for(
    stack: ExitStack, tmp_path: Path
) -> None:
    """A restore that goes well and one that fails, together: no query names a field that no line has."""
    lines = []
    for name, ok, straight in (("straight", True, True), ("well", True, False), ("badly", False, True)):
        (tmp_path / name).mkdir()
        lines += play(stack, tmp_path / name, ok=ok, straight=straight, **METRICS)
    with_metrics = [metrics_of(line) for line in lines if '"_aws"' in line]
    assert [set(found) & {"BeforeSnapshotMs", "RestoreMs"} for found in with_metrics] == [
        *({"BeforeSnapshotMs"}, {"RestoreMs"}),
        *({"BeforeSnapshotMs"}, {"RestoreMs"}),
        *({"BeforeSnapshotMs"}, set()),
    ]
    for restore in with_metrics[1], with_metrics[3]:
        assert restore["AfterRestoreMs"][0] == 2.5
        assert restore["SlowestHookMs"][0] == 2.0
        assert (restore["Hooks"][0], restore["Processes"][0]) == (1, 1)
        assert restore["RestoreMs"][0] > 0
    assert [found["Failures"][0] for found in with_metrics] == [0, 0, 0, 0, 0, 1]
    assert with_metrics[-1]["FailedHooks"][0] == 1

    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    units = {name: unit for found in with_metrics for name, (_, unit) in found.items()}
    assert sorted(rows) == sorted(units.items())

    has = set().union(*map(set, map(json.loads, lines)))
    asked = [*queries("metrics.md"), *queries("operating.md")]
    assert len(asked) >= 5
    assert [(query, names - has) for query, names in asked if names - has] == []
    by_metrics = {*units, "FunctionName", "FunctionVersion", "_aws", *MEASURED}
    assert [names & by_metrics for _, names in queries("metrics.md")[:2]] == [set(), set()]
    assert all('source = "snapext"' in query for query, _ in asked)


def test_a_refused_setting_is_a_failure_in_the_metrics(stack: ExitStack, tmp_path: Path) -> None:
    """The version is not published; that is what an alarm is for."""
    life = Life(stack, tmp_path)
    log = tmp_path / "log"
    with log.open("wb") as stdout:
        life.start(stdout.fileno(), **METRICS, SNAPEXT_WORKERS="x")
    assert life.process.wait(LIMIT_S) == 2
    (line,) = log.read_text().splitlines()
    assert metrics_of(line)["Failures"][0] == 1
