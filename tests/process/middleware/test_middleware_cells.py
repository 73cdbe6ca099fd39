"""Cells of the table in docs/guarantees.md that need a whole life of their own, with a clock that the test sets."""

from __future__ import annotations

import contextlib
import http.client
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_middleware_alone import AFTER, BEFORE, GUNICORN, PATHS, ask_at_once, bodies

from helpers import LIMIT_S, free_port, wait_until
from lives import APPS, BIN, Life
from snapext_tools.simulator.plan import Plan, Request
from snapext_tools.simulator.platform import InitType
from snapext_tools.simulator.simulation import Simulation

Env = dict[str, str]
OBSERVE = {"SNAPEXT_MODE": "observe", "_SNAPEXT_SIMULATED_CLOCK": ""}  # the test sets the clock, for the app alone
WAITRESS = "waitress-serve --listen 127.0.0.1:{port}"
FORTY_S = struct.pack("d", 40.0)


class Watched:
    """A life of `restored.py` under the local Lambda, in this process, which hears each event as it happens."""

    def __init__(self, folder: Path, command: str, adapter: str, freeze_s: float, env: dict[str, str]) -> None:
        self.port = free_port()
        self._clock, self._trace = folder / "clock", folder / "trace"
        self._clock.write_bytes(bytes(8))
        words = [*command.format(port=self.port).split(), "restored:app"]
        self._plan = Plan(
            command=(str(BIN / words[0]), *words[1:]),
            port=self.port,
            workers=None,
            init_type=InitType.SNAP_START,
            freeze_s=freeze_s,
            requests=(Request("GET", "/"),),
            adapter=adapter,
            timeout_s=60.0,
            with_snapext=env.pop("EXTENSION", "1") == "1",
        )
        self._environ = {
            **os.environ,
            "CLOCK_FILE": str(self._clock),
            "TRACE_FILE": str(self._trace),
            "AWS_LWA_READINESS_CHECK_PATH": "/ready",
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        }
        self._lines: list[str] = []
        self._calls: dict[str, Callable[[], None]] = {}

    def set_clock(self) -> None:
        """What the platform does after a restore."""
        self._clock.write_bytes(FORTY_S)

    def at(self, event: str, call: Callable[[], None]) -> None:
        self._calls[event] = call

    def run(self) -> Life:
        def tell(what: Any) -> None:
            self._calls.pop(getattr(what, "event", ""), lambda: None)()

        simulation = Simulation(self._plan, self._environ, tell=tell, hear_app=lambda _, line: self._lines.append(line))
        document = simulation.run()
        return Life.of(int(not document["ok"]), document, "\n".join(self._lines), self._trace)


Live = Callable[..., Watched]


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Live:
    monkeypatch.chdir(APPS)

    def live(command: str, app: str = "flask", *, adapter: str = "builtin", freeze_s: float = 0, **env: str) -> Watched:
        return Watched(tmp_path, command, adapter, freeze_s, {"APP": app, **env})

    return live


def workers_of(port: int) -> list[psutil.Process]:
    """The processes that gunicorn's master has forked, by the command line, which they have from it."""
    named = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # one of an earlier test that has ended, say
            if f"127.0.0.1:{port}" in " ".join(process.cmdline()):
                named.append(process)
    return [process for process in named if process.ppid() in {other.pid for other in named}]


CLOCK = "yes, if the platform sets the clock before the first request comes"


@pytest.mark.cells(4, before="exact, in every process", after="exact, in every process", first=CLOCK)
def test_two_hundred_requests_exactly_at_the_restore_wait_for_the_hooks_of_each_worker(live: Live) -> None:
    """They come while everything stands still, over four workers with a hook of 3 s; one worker is killed then.

    The clock shows the restore to the processes, the first INVOKE to the extension, and no request passes before the
    hooks, in the worker that replaces the other one as well.
    """
    command = f"{GUNICORN} -k uvicorn_worker.UvicornWorker -w 4 --preload"
    life = live(command, "starlette", freeze_s=0.3, HOOK_S="3", **OBSERVE)
    answers: list[tuple[int, bytes]] = []
    killed: list[int] = []

    def come() -> None:
        workers = workers_of(life.port)
        wait_until(lambda: {worker.status() for worker in workers} == {psutil.STATUS_STOPPED})
        killed.append(workers[0].pid)
        workers[0].kill()
        life.set_clock()
        answers.extend(ask_at_once(life.port, 200))

    coming = threading.Thread(target=come)
    life.at("snapshot", coming.start)
    life.at("invoke", coming.join)
    lived = life.run()

    assert lived.document["ok"] is True, lived.document["errors"]
    assert len(answers) == 200
    (new,) = (pid for pid in lived.pids if lived.hooks_of(pid) == AFTER)
    assert all(lived.hooks_of(pid) == BEFORE + AFTER for pid in lived.pids - {new, *killed})
    for answer in bodies(answers):
        assert answer["ran"] == (AFTER if answer["pid"] == new else BEFORE + AFTER)
    assert len({answer["pid"] for answer in bodies(answers)} | {new}) == 4
    assert {process["passed"] for process in lived.document["processes"]} == {
        0,
        None,
    }  # None: the master serves nothing
    assert [lived.hooks_of(pid) for pid in killed] == [BEFORE]


@pytest.mark.cells(
    4, failing="fails the version; after the restore requests get 503 or fail, and the platform resets the environment"
)
def test_where_nobody_waits_for_the_restore_a_hook_that_fails_is_503_and_a_reset(live: Live) -> None:
    """The Runtime API would take no report: the extension ends, and what came meanwhile has no stale answer."""
    life = live(WAITRESS, HOOK_FAILS="1", HOOK_S="0.5", **OBSERVE)  # requests come while it runs
    answers: list[int | None] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", life.port, timeout=LIMIT_S)
        with contextlib.closing(connection):
            try:
                connection.request("GET", "/")
                answers.append(connection.getresponse().status)
            except (OSError, http.client.HTTPException):
                answers.append(None)  # the server has ended

    asking = [threading.Thread(target=ask) for _ in range(3)]

    def come() -> None:
        life.set_clock()
        for one in asking:
            one.start()

    life.at("restore", come)
    lived = life.run()
    for one in asking:
        one.join()
    assert set(answers) <= {503, None}
    assert 503 in answers
    assert error_calls(lived) == ["Extension.AfterRestoreError"]
    assert lived.events("invoke") == []
    assert lived.document["errors"][0]["hook"] == "restored.last"
    assert lived.document["errors"][0]["seen"].startswith("the environment is reset; the request in it fails")


def error_calls(life: Life) -> list[str]:
    return [event["error_type"] for event in life.document["events"] if "error_type" in event]


BARE = {"BARE": "1"}
ALONE = {"EXTENSION": "0"}
BEFORE_FAILS, HOOK_FAILS = {"BEFORE_FAILS": "1"}, {"HOOK_FAILS": "1"}
OF_THE_EXTENSION, OF_THE_ADAPTER = "Extension.BeforeSnapshotError", "Runtime.BeforeSnapshotError"
WITHOUT = "fails the version; after the restore the platform resets the environment"
cells = pytest.mark.cells
VERSIONS = [
    pytest.param("builtin-1.1", {**OBSERVE, **PATHS}, OF_THE_EXTENSION, id="3", marks=cells(3, failing="the same")),
    pytest.param("builtin", OBSERVE, OF_THE_EXTENSION, id="4"),
    pytest.param("builtin", {**OBSERVE, **BARE}, OF_THE_EXTENSION, id="5", marks=cells(5, failing=WITHOUT)),
    pytest.param(
        *("builtin-1.1", {**ALONE, **PATHS}, OF_THE_ADAPTER),
        id="6",
        marks=cells(6, failing="fails the version, or the restore"),
    ),
]


@pytest.mark.parametrize(("adapter", "env", "call"), VERSIONS)
def test_a_before_snapshot_hook_that_fails_fails_the_version(live: Live, adapter: str, env: Env, call: str) -> None:
    """In whichever set-up something runs it: by the extension, or by the web adapter's POST to the middleware."""
    lived = live(WAITRESS, adapter=adapter, **env, **BEFORE_FAILS).run()
    assert error_calls(lived) == [call]
    assert lived.events("snapshot") == lived.events("invoke") == []
    (error,) = lived.document["errors"]
    assert error["seen"].startswith("no version is published")
    said = error["message"] if call == OF_THE_EXTENSION else lived.stderr
    assert "before_snapshot hook restored.refuses " in said or "before-snapshot hook restored.refuses " in said


RESTORES = [
    pytest.param(
        *("builtin", {**OBSERVE, **BARE}, "Extension.AfterRestoreError", "the environment is reset; the request"),
        id="5",
    ),
    pytest.param(
        *("builtin-1.1", {**ALONE, **PATHS}, "Runtime.AfterRestoreError", "each invocation that would have started"),
        id="6",
    ),
]


@pytest.mark.parametrize(("adapter", "env", "call", "seen"), RESTORES)
def test_an_after_restore_hook_that_fails_ends_the_clone(
    live: Live, adapter: str, env: Env, call: str, seen: str
) -> None:
    """Without the middleware by a reset: the first request may have been answered by then."""
    lived = live(WAITRESS, adapter=adapter, **env, **HOOK_FAILS).run()
    assert error_calls(lived) == [call]
    assert lived.document["ok"] is False
    assert lived.document["errors"][0]["seen"].startswith(seen)
    (pid,) = {line["pid"] for line in lived.trace}
    assert lived.hooks_of(pid) == BEFORE + AFTER[:2]


@pytest.mark.cells(9, before="not run", after="not run", first="no", failing="it does not run")
def test_with_nothing_of_ours_no_hook_runs(live: Live) -> None:
    """An app that imports snapext, and no more: it serves the state of the snapshot."""
    life = live(WAITRESS, **ALONE, **BARE, **HOOK_FAILS, **BEFORE_FAILS)
    life.at("restore", life.set_clock)
    lived = life.run()
    assert [event["status"] for event in lived.events("invoke")] == [200]
    assert [line for line in lived.trace if "hook" in line] == []
    assert lived.answers()[0]["restored"] is False
