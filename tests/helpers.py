"""What the tests share: the protocol's two ends in memory, the extension's side of a real socket, real client processes."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from snapext.protocol import (
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Connection,
    Done,
    Hello,
    HookCounts,
    Message,
    Role,
    Welcome,
)

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
WELCOME = Welcome(PROTOCOL_VERSION, "init", 0, None)
BEFORE = BeforeSnapshot(id=1, generation=0, timeout_ms=10_000)
AFTER = AfterRestore(id=2, generation=1, timeout_ms=9_000, environment_id=ENVIRONMENT_ID, restored_at=1_700_000_000.5)


def wait_until(predicate: Callable[[], T], timeout_s: float = LIMIT_S) -> T:
    """Return what `predicate` returns once it is true; fail when that has not happened in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"not true within {timeout_s} s"
        time.sleep(0.002)
    return value


class Pair:
    """Both ends of one connection, joined in memory."""

    def __init__(self, *, greeted: bool = True) -> None:
        self.process = Connection(Role.PROCESS)
        self.extension = Connection(Role.EXTENSION)
        if greeted:
            self.to_extension(HELLO)
            self.to_process(WELCOME)

    def to_extension(self, message: Message) -> list[Message]:
        return list(self.extension.receive(self.process.send(message)))

    def to_process(self, message: Message) -> list[Message]:
        return list(self.process.receive(self.extension.send(message)))


class Peer:
    """One connection of a process, seen from the extension's end. Messages that nobody asked for are kept in `heard`."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(LIMIT_S)
        self.socket = connected
        self.connection = Connection(Role.EXTENSION)
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
        self, code: str, environ: Mapping[str, str], *options: str, python: str = sys.executable, user: int | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [python, *options, "-c", textwrap.dedent(code)],
            env={**environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=user,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT_S)
        assert ready, "the process prints nothing"
        return self.process.stdout.readline().rstrip("\n")

    def end(self) -> tuple[str, str]:
        """Let it run to its end; returns what it still printed, and its standard error. Fails unless it ends well."""
        out, err = self.process.communicate("\n", timeout=LIMIT_S)
        assert self.process.returncode == 0, err
        return out, err

    def __enter__(self) -> App:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def clean_environ(**variables: str) -> dict[str, str]:
    """This process's environment without anything that the code under test would listen to."""
    theirs = ("SNAPEXT_", "AWS_", "PYTHON", "PORT", "HOST")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(theirs)}, **variables}


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
