"""What the tests share: the protocol's two ends in memory, the extension's side of a socket, client processes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import functools
import inspect
import os
import queue
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from snapext.wire.connection import Connection, Side
from snapext.wire.messages import (
    COMMANDS,
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Done,
    Hello,
    HookCounts,
    Message,
    Welcome,
)
from snapext_extension.log import Log
from snapext_extension.reactor import Reactor

T = TypeVar("T")
M = TypeVar("M", bound=Message)

LIMIT_S = 20.0
ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
AUTOSTART = SRC / "snapext" / "autostart"

ENVIRONMENT_ID = "0123456789abcdef" * 2
HELLO = Hello(
    protocol=PROTOCOL_VERSION,
    pid=4711,
    role="app",
    client="test",
    name="app.py",
    hooks=HookCounts(1, 2),
    generation=0,
)
WELCOME = Welcome(PROTOCOL_VERSION, "init", 0, None, commands=COMMANDS)
BEFORE = BeforeSnapshot(id=1, generation=0, timeout_ms=10_000)
AFTER = AfterRestore(id=2, generation=1, timeout_ms=9_000, environment_id=ENVIRONMENT_ID, restored_at=1_700_000_000.5)


def wait_until(predicate: Callable[[], T], timeout_s: float = LIMIT_S) -> T:
    """Return what `predicate` returns once it is true; fail when that has not happened in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"not true within {timeout_s} s"
        time.sleep(0.002)
    return value


def for_each(names: str, rows: Iterable[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Like pytest.mark.parametrize, but one test for all rows: for tables whose rows take less time than a test costs.

    Every row is tried. A failure names its row, and the other rows that fail.
    """
    fields = names.split(", ")
    table = [dict(zip(fields, row if len(fields) > 1 else (row,), strict=True)) for row in rows]
    assert table, f"no row has {names}"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **fixtures: Any) -> None:
            failed: list[tuple[BaseException, str]] = []
            for row in table:
                try:
                    test(*args, **row, **fixtures)
                except (Exception, pytest.fail.Exception) as error:
                    failed.append((error, ", ".join(f"{name}={value!r:.300}" for name, value in row.items())))
            if failed:
                first = failed[0][0]
                for number, (_, row_text) in enumerate(failed[:10]):
                    first.add_note(f"{'and' if number else 'fails'} with {row_text}")
                if failed[10:]:
                    first.add_note(f"and in {len(failed) - 10} more of {len(table)} rows")
                raise first

        signature = inspect.signature(test)
        others = [parameter for name, parameter in signature.parameters.items() if name not in fields]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def leave_out(reason: str) -> NoReturn:
    """Skip the test, with the reason; in CI, where everything can be had, it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"left out, which CI may not do: {reason}", pytrace=False)
    pytest.skip(reason)


def need(*programs: str) -> None:
    """Leave the test out where a program is missing that does not come with Python."""
    for program in programs:
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            leave_out(f"{program} is not installed: `.ci/programs` does that, or says why it cannot")


@cache
def namespaces(*options: str) -> list[str]:
    """The beginning of a command that runs in namespaces of its own; without root it takes one of users as well."""
    command = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), *options]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if tried.returncode != 0:
        leave_out(f"{' '.join(command)} is not possible here: {tried.stderr.strip()}")
    return command


class Pair:
    """Both ends of one connection, joined in memory."""

    def __init__(self, *, greeted: bool = True) -> None:
        self.process = Connection(Side.PROCESS)
        self.extension = Connection(Side.EXTENSION)
        if greeted:
            self.to_extension(HELLO)
            self.to_process(WELCOME)

    def to_extension(self, message: Message) -> list[Message]:
        return list(self.extension.receive(self.process.send(message)))

    def to_process(self, message: Message) -> list[Message]:
        return list(self.process.receive(self.extension.send(message)))


class Peer:
    """One connection of a process, seen from the extension's end. All that it says is kept in `heard`."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(LIMIT_S)
        self.socket = connected
        self.connection = Connection(Side.EXTENSION)
        self.heard: list[Message] = []
        self._pending: list[Message] = []

    def send(self, message: Message) -> None:
        self.socket.sendall(self.connection.send(message))

    def next(self, kind: type[M]) -> M:
        """The next message of a kind. Fails when the process hangs up or says nothing in time."""
        while True:
            while self._pending:
                message = self._pending.pop(0)
                self.heard.append(message)
                if isinstance(message, kind):
                    return message
            data = self.socket.recv(65536)
            assert data, f"hung up before {kind.type}; heard {self.heard}"
            self._pending += self.connection.receive(data)

    def greet(self, welcome: Welcome = WELCOME) -> Hello:
        hello = self.next(Hello)
        self.send(welcome)
        return hello

    def ask(self, message: BeforeSnapshot | AfterRestore) -> Done:
        self.send(message)
        return self.next(Done)

    def is_hung_up(self) -> bool:
        """Wait for the other side to hang up."""
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        return True

    def is_silent(self) -> bool:
        """Whether nothing has come and the other side has not hung up."""
        return not self._pending and not select.select([self.socket], [], [], 0)[0]


class Listener:
    """The extension's socket in the hands of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._peers: list[Peer] = []
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(64)
        self.server.settimeout(LIMIT_S)

    def accept(self) -> Peer:
        peer = Peer(self.server.accept()[0])
        self._peers.append(peer)
        return peer

    def close(self) -> None:
        for peer in self._peers:
            peer.socket.close()
        self.server.close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class App:
    """A real process that runs `code`; it speaks to the test in lines on standard output and hears it on its input."""

    def __init__(
        self,
        code: str,
        environ: Mapping[str, str],
        *options: str,
        python: str = sys.executable,
    ) -> None:
        self.process = subprocess.Popen(
            [python, *options, "-c", textwrap.dedent(code)],
            env={**environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._read = self._errors = b""

    def go(self) -> None:
        """Give it a line to read."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def line(self) -> str:
        """The next line that it prints. Fails when none comes in time."""
        assert self.process.stdout is not None
        while b"\n" not in self._read:
            ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
            data = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            assert data, f"the process prints nothing more than {self._read!r}"
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def wait_for_error(self) -> None:
        """Wait for a line on its standard error, which `end` returns all the same. Fails when none comes in time."""
        assert self.process.stderr is not None
        while b"\n" not in self._errors:
            ready, _, _ = select.select([self.process.stderr], [], [], LIMIT_S)
            data = os.read(self.process.stderr.fileno(), 65536) if ready else b""
            assert data, f"the process says nothing more than {self._errors!r}"
            self._errors += data

    def end(self) -> tuple[str, str]:
        """Let it run to its end; returns what it still printed, and its standard error. Fails unless it ends well."""
        out, err = self.process.communicate(b"\n", timeout=LIMIT_S)
        self._errors += err
        assert self.process.returncode == 0, self._errors.decode()
        return (self._read + out).decode(), self._errors.decode()

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=LIMIT_S)  # a child of it may have its output open still


def clean_environ(**variables: str) -> dict[str, str]:
    """This process's environment without anything that the code under test would listen to."""
    theirs = ("SNAPEXT_", "AWS_", "PYTHON", "PORT", "HOST")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(theirs)}, **variables}


class Loop:
    """The extension's reactor, turning in a thread of its own. What touches it goes through `call`."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe()
        self.reactor.watch(self._wake_read, self._take_calls)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the reactor's thread and return what it returns, or raise what it raises."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._calls.put(run)
        os.write(self._wake_write, b".")
        return future.result(LIMIT_S)

    def close(self) -> None:
        """Stop the thread. Fails if a callback has raised, which would have ended the extension."""
        if self._thread.is_alive():
            self.call(self.reactor.stop)
        self._thread.join(LIMIT_S)
        os.close(self._wake_read)
        os.close(self._wake_write)
        assert self.error is None, f"the reactor ended with {self.error!r}"

    def _run(self) -> None:
        try:
            self.reactor.run()
        except BaseException as error:
            self.error = error

    def _take_calls(self) -> None:
        os.read(self._wake_read, 1)
        self._calls.get()()


class MemoryLog(Log):
    """A log whose records a test can read: those that would be written, as repetitions are bounded."""

    def __init__(self) -> None:
        super().__init__("debug")
        self.records: list[dict[str, Any]] = []

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        self.records.append({"level": level, "event": event, **fields})

    def reasons(self, event: str) -> list[str]:
        return [record["reason"] for record in self.records if record["event"] == event]


FIRST_PORT, PORTS_OF_ONE, SHARES = 12_000, 1_000, 20
_next_port = os.getpid()


@cache
def _first_port() -> int:
    """Of this process's share: until its end no other process of pytest has it, of this run or of another one."""
    for share in range(SHARES):
        lock = os.open(f"{tempfile.gettempdir()}/snapext-tests-{os.getuid()}-ports-{share}", os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return FIRST_PORT + share * PORTS_OF_ONE
    raise AssertionError(f"{SHARES} processes of pytest have ports already")


def free_port() -> int:
    """A port on which nobody listens, and which no test beside this one is given.

    Below the range from which the kernel takes ports by itself, so that it stays free until the app under test has it.
    """
    global _next_port
    for _ in range(PORTS_OF_ONE):
        _next_port += 1
        port = _first_port() + _next_port % PORTS_OF_ONE
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError(f"no port from {_first_port()} on is free")
