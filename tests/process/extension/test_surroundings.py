"""The real extension in bad surroundings: descriptors closed or used up, and a log without a reader."""

from __future__ import annotations

import fcntl
import http.server
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from alone import Life
from helpers import LIMIT_S, clean_environ, wait_until
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Checkpoint, Result


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    with ExitStack() as stack:
        yield Life(stack, tmp_path)


# --- no descriptor is left -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["before_snapshot", "after_restore"])
def test_a_failing_hook_is_reported_when_no_descriptor_is_left(life: Life, phase: str) -> None:
    """The platform's calls have a reserve: all of them are made, and the failure reaches the platform."""
    life.start()
    app, command = life.connect("app"), life.connect("control")
    command.say(Checkpoint())
    life.use_up_descriptors()
    if phase == "before_snapshot":
        app.answer(BeforeSnapshot, ok=False)
        kind, status = "Runtime.BeforeSnapshotError", 64
    else:
        app.answer(BeforeSnapshot, ok=True)
        life.platform.wait_init_end(LIMIT_S)
        life.platform.restore()
        app.answer(AfterRestore, ok=False)
        kind, status = "Runtime.AfterRestoreError", 65

    failure = wait_until(lambda: life.platform.failure)
    assert failure.error_type == kind
    assert life.process.wait(LIMIT_S) == status


def test_without_descriptors_the_extension_waits_and_does_not_spin(life: Life) -> None:
    """Peers that cannot be accepted stay in the queue, and the boundary is still crossed."""
    life.start()
    app, command = life.connect("app"), life.connect("control")
    life.use_up_descriptors()
    began = life.cpu_s()
    assert not select.select([app.socket], [], [], 1.0)[0]
    assert life.cpu_s() - began < 0.2

    command.say(Checkpoint())
    app.answer(BeforeSnapshot, ok=True)
    life.platform.wait_init_end(LIMIT_S)
    life.platform.restore()
    app.answer(AfterRestore, ok=True)
    assert command.next(Result) == Result(True)
    assert life.platform.failure is None


# --- 0, 1 and 2 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_no_socket_takes_a_standard_descriptor(life: Life, closed: tuple[int, ...]) -> None:
    """Our parent may have closed them; other output to them must not reach the platform."""
    life.start(before=lambda: [os.close(number) for number in closed] and None)
    life.connect("app")
    used = life.descriptors()
    assert [used[number] for number in closed] == ["/dev/null"] * len(closed)
    assert min(number for number, what in used.items() if not what.startswith(("/", "pipe:"))) > 2


@pytest.mark.parametrize("closed", [(0,), (0, 1, 2)], ids=str)
def test_a_bad_start_is_no_traceback_without_standard_descriptors(closed: tuple[int, ...]) -> None:
    """It says what is wrong where it can, and ends with its status."""
    done = subprocess.run(
        [sys.executable, "-m", "snapext_extension"],
        env=clean_environ(),
        stderr=subprocess.PIPE,
        timeout=LIMIT_S,
        preexec_fn=lambda: [os.close(number) for number in closed] and None,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"snapext: this is a Lambda extension") is (closed == (0,))


# --- a platform that does not answer as documented -------------------------------------------------------------------


class _Strange(http.server.BaseHTTPRequestHandler):
    """Lets us register, and has no event."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(200 if self.path.endswith("/register") else 202)
        self.send_header("Lambda-Extension-Identifier", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_failure_that_nobody_has_thought_of_is_reported_with_its_stack(tmp_path: Path) -> None:
    """A reader of the log must find the place in our code."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Strange) as platform:
        platform.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=platform.serve_forever)
        thread.start()
        done = subprocess.run(
            [sys.executable, "-m", "snapext_extension", "/opt/extensions/snapext"],
            env=clean_environ(
                AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{platform.server_address[1]}",
                SNAPEXT_SOCKET=str(tmp_path / "bridge" / "bridge.sock"),
            ),
            stdout=subprocess.PIPE,
            timeout=LIMIT_S,
        )
        platform.shutdown()
        thread.join()
    assert done.returncode == 1
    (failed,) = [line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "failed"]
    assert failed["message"].startswith("HttpError: event/next was answered with 500")
    assert "in _on_event_next" in failed["stack"]
    assert platform.asked[-1] == "/2020-01-01/extension/exit/error"  # type: ignore[attr-defined]


# --- a log that nobody reads -----------------------------------------------------------------------------------------


def test_a_full_log_holds_neither_the_boundary_nor_its_end(life: Life) -> None:
    """Standard output is full before we begin, and stays so; a flood of peers that are refused adds to it."""
    read, write = os.pipe()
    os.write(write, b"x" * fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096))
    began = time.monotonic()
    life.start(stdout=write)
    app, command = life.connect("app"), life.connect("control")
    for _ in range(400):
        with socket.socket(socket.AF_UNIX) as bad:
            bad.connect(str(life.path))
            bad.sendall(b"garbage\n")
    command.say(Checkpoint())
    app.answer(BeforeSnapshot, ok=True)
    life.platform.wait_init_end(LIMIT_S)
    life.platform.restore()
    app.answer(AfterRestore, ok=False)

    assert wait_until(lambda: life.platform.failure).error_type == "Runtime.AfterRestoreError"
    assert life.process.wait(LIMIT_S) == 65
    assert time.monotonic() - began < LIMIT_S
    os.close(read)
    os.close(write)
