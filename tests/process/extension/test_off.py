"""SNAPEXT_MODE=off: the real extension does what would happen without it, whatever else is set."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from helpers import LIMIT_S, Loop, MemoryLog, clean_environ, for_each, free_port, wait_until
from snapext_extension import off
from snapext_extension.adapter_config import readiness
from snapext_extension.off import Relay, gate_port, log_level
from snapext_tools.simulator.platform import InitType, Platform

REFUSED = {
    "SNAPEXT_WORKERS": "x",
    "SNAPEXT_SIGNALS": "KILL",
    "SNAPEXT_TRANSPORT": "pigeon",
    "SNAPEXT_SOCKET": "not absolute",
    "SNAPEXT_RESTORE_CALLER": "nobody",
    "SNAPEXT_AFTER_RESTORE_TIMEOUT_MS": "-1",
    "SNAPEXT_LOG_LEVEL": "loud",
    "SNAPEXT_MISSPELT": "1",
}
CHECK = b"GET / HTTP/1.1\r\nHost: gate\r\n\r\n"


class AppServer:
    """The app's own port: it answers each request with the next of the statuses that the test gives it."""

    def __init__(self, port: int) -> None:
        self.server = socket.create_server(("127.0.0.1", port))
        self.server.settimeout(LIMIT_S)

    def accept(self) -> socket.socket:
        asked = self.server.accept()[0]
        asked.settimeout(LIMIT_S)
        assert asked.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
        return asked

    def answer(self, status: int) -> None:
        with self.accept() as asked:
            asked.sendall(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())


class Check:
    """One readiness check of the adapter's, on a connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)

    def ask(self) -> Check:
        self._connection.request("GET", "/")
        return self

    def status(self) -> int:
        answer = self._connection.getresponse()
        answer.read()
        return answer.status

    def close(self) -> None:
        self._connection.close()


class Life:
    """The extension's process, with a log that the test reads."""

    def __init__(self, stack: ExitStack, folder: Path, **env: str) -> None:
        self.app_port, self.port = free_port(), free_port()
        self.platform = stack.enter_context(Platform(init_type=InitType.SNAP_START, extension_names=["snapext"]))
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snapext_extension", str(folder / "snapext")],
                env=clean_environ(
                    AWS_LAMBDA_RUNTIME_API=self.platform.address,
                    AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
                    AWS_LWA_READINESS_CHECK_PORT=str(self.port),
                    PORT=str(self.app_port),
                    SNAPEXT_PORT=str(self.port),
                    **env,
                ),
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        stack.callback(self.process.wait)
        stack.callback(self.process.kill)
        self.platform.wait_registered(LIMIT_S)
        self.platform.runtime_started()
        wait_until(self.log)

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def check(self) -> Check:
        check = Check(self.port)
        wait_until(lambda: _connects(self.port))
        return check.ask()

    @contextmanager
    def runtime_that_asks_for_an_invocation(self) -> Iterator[None]:
        """The adapter's (1.1): nothing but invocation/next, which waits for the first invocation."""
        host, _, port = self.platform.address.partition(":")
        with socket.create_connection((host, int(port)), LIMIT_S) as runtime:
            runtime.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: lambda\r\n\r\n")
            yield


def _connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("mode", ["off", "false"])
def test_each_check_gets_the_apps_own_answer_and_nothing_else_happens(mode: str, tmp_path: Path) -> None:
    """No setting that would be refused is, one line says so, and the snapshot is not held back for a moment."""
    with ExitStack() as stack:
        life = Life(stack, tmp_path, SNAPEXT_MODE=mode, **REFUSED)
        life.process.send_signal(signal.SIGTERM)  # a process sends it to all others: it would not reach us
        check = life.check()
        app = AppServer(life.app_port)  # only now: the check was held until then
        app.answer(503)
        app.answer(204)
        assert check.status() == 204
        with life.runtime_that_asks_for_an_invocation():
            life.platform.wait_init_end(LIMIT_S)
            assert not life.platform.wants_restore
            life.platform.restore()
        check.ask()
        app.answer(201)
        assert check.status() == 201
        app.server.close()
        check.close()

        life.platform.shutdown()
        assert life.process.wait(LIMIT_S) == 0
        (line,) = [line for line in life.log() if line["event"] != "waiting"]  # of a machine that is very slow
    assert (line["level"], line["event"]) == ("warning", "off")
    assert line["ignored"] == sorted(REFUSED.keys() - {"SNAPEXT_LOG_LEVEL"})
    assert line["message"].startswith("SNAPEXT_MODE=off: ")
    assert os.listdir(tmp_path) == ["log"]


def test_a_check_by_tcp_is_accepted_when_the_app_accepts_it(tmp_path: Path) -> None:
    """Nothing listens before: the adapter would take that for the app's readiness."""
    with ExitStack() as stack:
        life = Life(stack, tmp_path, SNAPEXT_MODE="off", AWS_LWA_READINESS_CHECK_PROTOCOL="TCP")
        assert not _connects(life.port)
        with socket.create_server(("127.0.0.1", life.app_port)) as app:
            wait_until(lambda: _connects(life.port))
            app.settimeout(LIMIT_S)
            app.accept()[0].close()


def all_is_seen(port: int) -> None:
    """Connections are accepted in turn, and this one ends as soon as it is read."""
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as last:
        last.sendall(b"no request\r\n\r\n")
        assert last.recv(1) == b""


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_a_check_that_was_dropped_asks_the_app_no_more(loop: Loop) -> None:
    """The app accepts the question and never answers; the adapter gives up, and its next check is asked anew.

    While another check is held, the question stays.
    """
    port, app = free_port(), AppServer(free_port())
    rule = readiness({"PORT": str(app.server.getsockname()[1])})
    relay = loop.call(lambda: Relay(port, rule, loop.reactor, MemoryLog(), tcp=False))
    first = Check(port).ask()
    with app.accept() as asked:
        other = Check(port).ask()
        all_is_seen(port)
        other.close()
        all_is_seen(port)
        asked.sendall(b"HTTP/1.1 202 X\r\n\r\n")
        assert first.status() == 202
    first.ask()
    with app.accept() as stuck:
        first.close()
        assert stuck.recv(1) == b""

    answered = threading.Thread(target=app.answer, args=(200,))
    answered.start()
    second = Check(port).ask()
    assert second.status() == 200
    answered.join()
    second.close()
    app.server.close()
    loop.call(relay.close)


def test_a_check_that_waits_says_for_what(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter's own line names the gate's port, and who has turned snapext off has another fault to find."""
    monkeypatch.setattr(off, "WAITING_EVERY_MS", 20)
    port, app_port, log = free_port(), free_port(), MemoryLog()
    relay = loop.call(lambda: Relay(port, readiness({"PORT": str(app_port)}), loop.reactor, log, tcp=False))
    check = Check(port).ask()
    wait_until(lambda: len(log.records) >= 2)
    app = AppServer(app_port)
    app.answer(200)
    assert check.status() == 200
    said = len(log.records)
    all_is_seen(port)
    loop.call(relay.close)
    check.close()
    app.server.close()
    waiting = [record for record in log.records if record["event"] == "waiting"]
    assert len(waiting) == said
    message = f"the app's readiness check fails: GET http://127.0.0.1:{app_port}/: Connection refused"
    assert message in waiting[0]["message"]


@for_each(
    "environ, port",
    [
        ({}, None),
        ({"AWS_LWA_READINESS_CHECK_PORT": "8080"}, None),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555"}, 9555),
        ({"READINESS_CHECK_PORT": "9555"}, 9555),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "SNAPEXT_PORT": "9556"}, None),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9556", "SNAPEXT_PORT": "9556"}, 9556),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "SNAPEXT_PORT": "x"}, 9555),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "PORT": "9555"}, None),
    ],
)
def test_the_gate_is_there_only_where_the_adapter_asks_for_it(environ: dict[str, str], port: int | None) -> None:
    """Where the app itself listens at our port, the adapter's check is its own to answer."""
    assert gate_port(environ) == port


def test_a_log_level_that_is_set_counts() -> None:
    """Any other text is as good as none."""
    assert [log_level(environ) for environ in ({}, {"SNAPEXT_LOG_LEVEL": "error"})] == ["info", "error"]
