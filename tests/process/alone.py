"""The real extension under the simulated platform, alone: a test speaks for the app, the runtime and the platform."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from helpers import HELLO, LIMIT_S, clean_environ, wait_until
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Done, HookFailure, Message, Welcome
from snapext_tools.simulator.platform import InitType, Platform

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
FAILURE = HookFailure("RuntimeError", "no database", "", "app.connect")


class Client:
    """A process's end of one connection to the extension."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(str(path))
        self._connection = Connection(Side.PROCESS)

    def say(self, message: Message) -> None:
        self.socket.sendall(self._connection.send(message))

    def next(self, kind: type[Message]) -> Message:
        while True:
            data = self.socket.recv(65536)
            assert data, "hung up"
            for message in self._connection.receive(data):
                if isinstance(message, kind):
                    return message

    def answer(self, phase: type[BeforeSnapshot] | type[AfterRestore], *, ok: bool) -> None:
        """Wait for a phase, and end it."""
        told = self.next(phase)
        assert isinstance(told, BeforeSnapshot | AfterRestore)
        self.say(Done(told.id, ok, 1.0, (), None if ok else FAILURE))


class Life:
    """The extension's process under the simulated platform, in a function that asks for the checkpoint itself."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.path = folder / "bridge" / "bridge.sock"
        self.platform = stack.enter_context(Platform(init_type=InitType.SNAP_START, extension_names=["snapext"]))

    def start(
        self,
        stdout: int = subprocess.DEVNULL,
        before: Callable[[], None] | None = None,
        program: tuple[str, ...] = ("-m", "snapext_extension", "/opt/extensions/snapext"),
        **env: str,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *program],
            env=clean_environ(
                AWS_LAMBDA_RUNTIME_API=self.platform.address,
                AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
                SNAPEXT_SOCKET=str(self.path),
                SNAPEXT_MODE="explicit",
                **env,
            ),
            stdout=stdout,
            preexec_fn=before,
            bufsize=0,  # a test that waits for a line waits for the descriptor
        )
        waiter = threading.Thread(target=self._tell_the_platform_of_its_end)
        waiter.start()
        self._stack.callback(waiter.join)
        self._stack.callback(self.process.kill)
        self.platform.wait_registered(LIMIT_S)
        self.platform.runtime_started()
        wait_until(lambda: self.process.poll() is not None or self._listens())

    def _tell_the_platform_of_its_end(self) -> None:
        self.platform.process_exited("extension", "snapext", self.process.wait())

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0

    def connect(self, role: str) -> Client:
        client = Client(self.path)
        self._stack.callback(client.socket.close)
        client.say(HELLO.replace(role=role))
        client.next(Welcome)
        return client

    def descriptors(self) -> dict[int, str]:
        found, folder = {}, f"/proc/{self.process.pid}/fd"
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # it is closed meanwhile
                found[int(number)] = os.readlink(f"{folder}/{number}")
        return found

    def use_up_descriptors(self) -> None:
        """From now on the extension gets none, but for those that it gives back itself; and many want to come in."""
        used = self.descriptors()
        lowest = next(number for number in range(1_000) if number not in used)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (lowest, lowest))
        for _ in range(100):
            late = self._stack.enter_context(socket.socket(socket.AF_UNIX))
            late.connect(str(self.path))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
