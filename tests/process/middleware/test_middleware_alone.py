"""The middleware on real servers, with no extension beside them: what a package alone can do."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from helpers import LIMIT_S, clean_environ, free_port, wait_until
from lives import APPS, BIN

AFTER = ["after_first", "after_second", "last"]
BEFORE = ["before_second", "before_first"]
PATHS = {
    "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "/taken",
    "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/restored",
}
GUNICORN = "gunicorn -b 127.0.0.1:{port} --graceful-timeout 1"


def ask_at_once(port: int, count: int, meanwhile: Callable[[], None] = lambda: None) -> list[tuple[int, bytes]]:
    """So many requests, each on a connection of its own; `meanwhile` is called when all have been sent."""

    async def send() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
        await writer.drain()
        return reader, writer

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()  # at once: gunicorn waits for it
        return int(head.split()[1]), body[body.find(b"{") : body.rfind(b"}") + 1] or body

    async def ask() -> list[tuple[int, bytes]]:
        streams = await asyncio.gather(*(send() for _ in range(count)))
        meanwhile()
        return await asyncio.wait_for(asyncio.gather(*(receive(*stream) for stream in streams)), LIMIT_S)

    return asyncio.run(ask())


class Server:
    """A server that was started as on Lambda, its processes, and the clock that they read."""

    def __init__(self, command: str, app: str, folder: Path, **env: str) -> None:
        self.port = free_port()
        self._clock, self._trace, self._stderr = folder / "clock", folder / "trace", folder / "stderr"
        self._clock.write_bytes(struct.pack("d", 0))
        words = [*command.format(port=self.port).split(), "restored:app"]
        environ = clean_environ(
            APP=app,
            CLOCK_FILE=str(self._clock),
            TRACE_FILE=str(self._trace),
            SNAPEXT_SOCKET=str(folder / "none" / "bridge.sock"),
            PYTHONDONTWRITEBYTECODE="1",
            AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
            **env,
        )
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [str(BIN / words[0]), *words[1:]], cwd=APPS, env=environ, stdout=stderr, stderr=stderr
            )

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def trace(self) -> list[dict]:
        return [json.loads(line) for line in self._trace.read_text().splitlines()] if self._trace.exists() else []

    def hooks_of(self, pid: int) -> list[str]:
        return [line["hook"] for line in self.trace() if line["pid"] == pid and "hook" in line]

    def pids(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)} or {self.process.pid}

    def ready(self, workers: int) -> Server:
        """Wait until so many of its processes have answered a health check."""
        answered: set[int] = set()

        def all_have() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answered.add(json.loads(self.ask("GET", "/ready")[1])["pid"])
            assert self.process.poll() is None, self.stderr
            return len(answered) >= workers

        wait_until(all_have, 60)
        return self

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return response.status, response.read()

    def ask_at_once(self, count: int, meanwhile: Callable[[], None] = lambda: None) -> list[tuple[int, bytes]]:
        """So many requests, each on a connection of its own; `meanwhile` is called when all have been sent."""
        return ask_at_once(self.port, count, meanwhile)

    def stop(self) -> None:
        self._signal(signal.SIGSTOP)

    def restore(self, gap_s: float = 40.0) -> None:
        """What a clone sees: all processes stop, and go on with a wall clock that has moved."""
        self.stop()
        self._clock.write_bytes(struct.pack("d", gap_s))
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in (self.process.pid, *self.pids()):
            os.kill(pid, number)

    def close(self) -> None:
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def serve(command: str, app: str, workers: int = 1, **env: str) -> Server:
            server = Server(command, app, tmp_path, **env)
            stack.callback(server.close)
            return server.ready(workers)

        yield serve


def bodies(answers: list[tuple[int, bytes]]) -> list[dict]:
    assert {status for status, _ in answers} == {200}, answers
    return [json.loads(body) for _, body in answers]


@pytest.mark.cells(
    8,
    before="**not run**: a line says so",
    after="once in each process, at its first request after the restore",
    first="yes, if the platform sets the clock before the first request comes",
)
def test_two_hundred_first_requests_wait_for_a_hook_that_takes_three_seconds(serve):
    """In each of four workers the hooks run once; all requests wait, then pass; and no worker reads a clock again."""
    server = serve(
        f"{GUNICORN} -k uvicorn_worker.UvicornWorker -w 4 --preload", "fastapi", 4, HOOK_S="3", ASYNC_HOOK="1"
    )
    assert [line for line in server.trace() if "hook" in line] == []  # health checks are no restore

    server.restore()
    started = time.monotonic()
    answers = bodies(server.ask_at_once(200))
    assert time.monotonic() - started >= 3

    asked = {answer["pid"] for answer in answers}
    assert len(asked) == 4
    assert {pid: server.hooks_of(pid) for pid in asked} == dict.fromkeys(asked, AFTER)
    first = answers[0]
    assert first["lifespan"] is first["restored"] is first["same_loop"] is True
    reads = {answer["pid"]: answer["reads"] for answer in bodies(server.ask_at_once(20))}
    server.restore(80)
    again = {answer["pid"]: answer["reads"] for answer in bodies(server.ask_at_once(20))}
    assert {pid: again[pid] for pid in again.keys() & reads.keys()} == {pid: reads[pid] for pid in again.keys() & reads}
    assert {pid: server.hooks_of(pid) for pid in asked} == dict.fromkeys(asked, AFTER)
    assert "cannot run: no extension answers. Attach the snapext layer" in server.stderr


SETUPS = {
    "flask gunicorn sync": (f"{GUNICORN} -w 2", "flask", 2),
    "flask gunicorn gthread, preloaded": (f"{GUNICORN} -w 2 --threads 8 --preload", "flask", 2),
    "flask waitress": ("waitress-serve --listen 127.0.0.1:{port}", "flask", 1),
    "flask granian": ("granian --interface wsgi --port {port}", "flask", 1),
    "django uvicorn": ("uvicorn --port {port}", "django_asgi", 1),
}


@pytest.mark.cells(8, first="yes, if the platform sets the clock before the first request comes")
@pytest.mark.parametrize(("command", "app", "workers"), SETUPS.values(), ids=SETUPS)
def test_the_first_requests_wait_for_the_hooks(serve, command, app, workers):
    """On each kind of server: also those that arrived while everything stood still, exactly at the restore."""
    server = serve(command, app, workers, HOOK_S="0.2")
    server.stop()
    answers = bodies(server.ask_at_once(30, server.restore))

    assert [answer["ran"] for answer in answers] == [AFTER] * 30
    for pid in {answer["pid"] for answer in answers}:
        assert server.hooks_of(pid) == AFTER


def websocket(server: Server) -> bytes:
    """The answer to the handshake of a websocket, and what comes with it."""
    with socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: app\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(65536):
                received += data
                if b"}" in received:
                    break
        return received


ASGI = ["uvicorn --ws wsproto --port {port}", "hypercorn -b 127.0.0.1:{port}"]


STREAMING = {
    "starlette uvicorn": (ASGI[0], "starlette"),
    "quart hypercorn": (ASGI[1], "quart"),
    "litestar granian": ("granian --interface asgi --port {port}", "litestar"),
}


@pytest.mark.parametrize(("command", "app"), STREAMING.values(), ids=STREAMING)
def test_streams_and_websockets_pass(serve, command, app):
    """A stream goes on across the restore; a websocket is held as a request is; the lifespan reaches the app."""
    server = serve(command, app, ASYNC_HOOK="1", **PATHS)
    assert b"101" in websocket(server).splitlines()[0]

    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)) as connection:
        connection.request("GET", "/stream")
        stream = connection.getresponse()
        assert stream.readline() == b"first\n"
        server.restore()
        assert stream.readline() == b"second\n"
    assert b'"last"' in websocket(server)
    (answer,) = bodies(server.ask_at_once(1))
    assert answer["ran"] == AFTER
    assert answer["lifespan"] is answer["same_loop"] is True

    # The adapter fails the restore for anything but a success: that the clock was faster is none of its business.
    assert server.ask("POST", "/taken") == (418, b"the app's own: b''")  # it is too late for that one
    assert server.ask("POST", "/restored") == (200, b"")
    assert server.hooks_of(answer["pid"]) == AFTER


def check_failure(server: Server) -> None:
    for _ in range(2):
        for status, body in server.ask_at_once(3):
            assert status == 503
            assert b"its after-restore hook restored.last failed (OSError): it serves no request" in body
            assert b"password" not in body
    assert "after_restore hook restored.last in process" in server.stderr
    assert "OSError: the password of the database is wrong; every request to this process gets 503" in server.stderr
    assert "in last" in server.stderr  # the stack


@pytest.mark.parametrize("command", ASGI)
def test_a_hook_that_fails_is_an_answer_of_503(serve, command):
    """Every request to that process gets it, with a text that says whose fault it is and nothing else of the app's.

    A websocket is refused. The web adapter's own POST fails: it reports that to the platform, as no middleware can.
    """
    server = serve(command, "starlette", HOOK_FAILS="1", **PATHS)
    assert server.ask("POST", "/taken")[0] == 200
    status, body = server.ask("POST", "/restored")
    assert (status, b"restored.last" in body) == (500, True)
    check_failure(server)
    assert websocket(server).splitlines()[0].split()[1] in (b"503", b"403")


@pytest.mark.cells(8, failing="503 to every request of that process")
def test_a_hook_that_fails_in_a_wsgi_app(serve):
    """The same there, where the first request runs it in its own thread."""
    server = serve(GUNICORN, "flask", HOOK_FAILS="1")
    server.restore()
    check_failure(server)


@pytest.mark.cells(7, failing="in the one it fails the version, or the restore; in the others 503")
def test_hooks_that_fail_in_the_worker_that_is_posted_to_and_in_the_others(serve):
    """The version fails by the first POST, the restore by the second; at their first request the others get 503."""
    server = serve(f"{GUNICORN} -w 2", "flask", 2, HOOK_FAILS="1", BEFORE_FAILS="1", **PATHS)
    status, body = server.ask("POST", "/taken")
    assert (status, b"snapext: the before-snapshot hook restored.refuses failed in process" in body) == (500, True)
    assert b"(OSError): no snapshot may be taken. The function's log says why." in body
    assert "before_snapshot hook restored.refuses in process" in server.stderr
    assert server.ask("POST", "/restored")[0] == 500
    server.restore()

    def both() -> bool:
        answers = server.ask_at_once(20)
        assert {status for status, _ in answers} == {503}
        return len({body.split(b" runs from")[0] for _, body in answers}) == 2

    wait_until(both)


@pytest.mark.parametrize(("preload", "ran"), [("--preload", AFTER), ("", [])], ids=["fork", "new"])
def test_a_worker_that_replaces_another_after_the_restore(serve, preload, ran):
    """A fork of memory from before the snapshot runs the hooks first; one that imports the app anew has none to run."""
    server = serve(f"{GUNICORN} {preload}", "flask")
    (old,) = server.pids()
    server.restore()
    os.kill(old, signal.SIGKILL)
    (new,) = wait_until(lambda: server.pids() - {old, server.process.pid})

    (answer,) = bodies(server.ask_at_once(1))
    assert (answer["pid"], answer["ran"]) == (new, ran)
    assert server.hooks_of(old) == []
    warned = [line for line in server.stderr.splitlines() if f"hooks of process {new} cannot run" in line]
    assert ["began after the restore" in line for line in warned] == ([] if preload else [True])


ADAPTERS = {
    "starlette": ("uvicorn --port {port}", "starlette", 404),
    "flask": (GUNICORN, "flask", 404),
    "django": ("uvicorn --port {port}", "django_asgi", 200),
}


@pytest.mark.cells(6, before="exact", after="exact", first="exact")
@pytest.mark.parametrize(("command", "app", "otherwise"), ADAPTERS.values(), ids=ADAPTERS)
def test_the_web_adapter_posts_both_phases(serve, command, app, otherwise):
    """It is answered once for each, when the hooks have run; for anybody else the two routes are the app's own."""
    server = serve(command, app, **PATHS)
    own = 418, b"the app's own: b''"
    (pid,) = server.pids()

    assert server.ask("POST", "/taken", x_amzn_request_context="{}") == own
    assert server.ask("POST", "/taken", x_amzn_lambda_context="{}") == own
    assert server.ask("POST", "/taken", b"x") == (418, b"the app's own: b'x'")
    assert server.ask("POST", "/taken?a=1") == own
    assert server.hooks_of(pid) == []

    assert server.ask("POST", "/taken") == (200, b"")
    assert server.hooks_of(pid) == BEFORE
    assert server.ask("POST", "/taken") == own

    assert server.ask("POST", "/restored", x_amzn_request_context="{}")[0] == otherwise
    assert server.ask("POST", "/restored") == (200, b"")  # also where the clock has not been set yet
    assert server.hooks_of(pid) == BEFORE + AFTER
    assert server.ask("POST", "/restored")[0] == otherwise
    server.restore()
    assert bodies(server.ask_at_once(3))[0]["ran"] == BEFORE + AFTER
    assert "before-snapshot" not in server.stderr


@pytest.mark.cells(
    7,
    before="**in one worker**",
    after="once in each: in one by the POST, in the others at their first request",
    first="exact in the one; in the others if the platform sets the clock before the first request comes",
)
def test_the_post_reaches_one_worker_and_the_others_recover_by_the_clock(serve):
    """And their before-snapshot hooks did not run: each says so."""
    server = serve(f"{GUNICORN} -w 2", "django_wsgi", 2, **PATHS)
    assert server.ask("POST", "/taken", x_amzn_request_context="{}")[0] == 418
    assert server.ask("POST", "/taken")[0] == 200
    server.restore()
    assert server.ask("POST", "/restored")[0] == 200

    def both() -> dict[int, list[str]]:
        return {answer["pid"]: answer["ran"] for answer in bodies(server.ask_at_once(20))}

    ran = wait_until(lambda: found if len(found := both()) == 2 else None)
    (posted,) = (pid for pid, hooks in ran.items() if hooks == BEFORE + AFTER)
    (other,) = ran.keys() - {posted}
    assert ran[other] == AFTER
    assert f"the 2 before-snapshot hooks of process {other} have not run" in server.stderr
