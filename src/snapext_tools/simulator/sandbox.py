"""The processes of one environment: started as Lambda starts them, frozen together, and none left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psutil

CLOSE_WITHIN_S = 5
_PR_SET_CHILD_SUBREAPER = 36  # see prctl(2)


@dataclass(slots=True)
class _Output:
    """A pipe that processes write lines to."""

    fd: int
    on_line: Callable[[str], None]
    rest: bytes = b""


class Sandbox:
    """Starts processes, passes on their output line by line, and ends every process that they started.

    on_exit gets the role, the name and the return code of each process of ours that ends.
    """

    def __init__(self, on_exit: Callable[[str, str, int], None]) -> None:
        # Daemons that a child leaves behind become children of ours: we overlook none of them.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._on_exit = on_exit
        self._already_here = {child.pid for child in psutil.Process().children(recursive=True)}
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._waiters: list[threading.Thread] = []
        self._outputs: list[_Output] = []
        self._read_ends: list[int] = []
        self._is_closing = False
        self._reading = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    def output(self, on_line: Callable[[str], None]) -> int:
        """A descriptor for processes to write to; `on_line` gets each line. The caller closes it after use."""
        read_end, write_end = os.pipe()
        os.set_blocking(read_end, False)
        with self._reading:
            self._outputs.append(_Output(read_end, on_line))
            self._read_ends.append(read_end)
        os.write(self._wake_write, b".")
        return write_end

    def start(
        self,
        role: str,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        stdout: int,
        stderr: int,
        cwd: str | None = None,
    ) -> int:
        """Start a process in a session of its own and return its pid. Raises OSError if that fails."""
        process = subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            start_new_session=True,
        )
        self._started[name] = process
        waiter = threading.Thread(target=lambda: self._on_exit(role, name, process.wait()), daemon=True)
        self._waiters.append(waiter)
        waiter.start()
        return process.pid

    def __contains__(self, name: str) -> bool:
        return name in self._started

    def pid(self, name: str) -> int:
        """The pid of a process that we started."""
        return self._started[name].pid

    def freeze(self) -> None:
        """Stop every process, until no new one appears: one may fork while another is being stopped."""
        stopped: set[int] = set()
        while fresh := [p for p in self.processes() if p.pid not in stopped]:
            for process in fresh:
                stopped.add(process.pid)
                with contextlib.suppress(psutil.Error):
                    process.suspend()

    def thaw(self) -> None:
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.resume()

    def terminate(self, name: str) -> None:
        """Send SIGTERM to the whole group of a process that we started, as Lambda does to the runtime at shutdown."""
        process = self._started[name]
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it ended at this moment
                os.killpg(process.pid, signal.SIGTERM)

    def wait_exit(self, name: str, timeout_s: float) -> bool:
        """Whether a process that we started ends within `timeout_s`."""
        try:
            self._started[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def processes(self) -> list[psutil.Process]:
        """Every process of the environment that is alive."""
        children = psutil.Process().children(recursive=True)
        return [child for child in children if child.pid not in self._already_here and _alive(child)]

    def kill_all(self) -> None:
        """Send SIGKILL to every process until none is left, and read the rest of their output."""
        deadline = time.monotonic() + 10
        while (alive := self.processes()) and time.monotonic() < deadline:
            for process in alive:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs([p for p in alive if not self._is_ours(p)], timeout=1)
            self._join_waiters()
        self._join_waiters()
        self.drain()

    def close(self) -> None:
        """Give the descriptors back. Behind `kill_all`, since nobody reads the output any more."""
        self._is_closing = True
        os.write(self._wake_write, b".")
        self._reader.join(CLOSE_WITHIN_S)
        if not self._reader.is_alive():  # else it waits for a terminal, and will read again
            for descriptor in (self._wake_read, self._wake_write, *self._read_ends):
                os.close(descriptor)

    def drain(self) -> None:
        """Pass on every line that has been written by now."""
        for output in list(self._outputs):
            self._read_from(output)

    def _join_waiters(self) -> None:
        for process, waiter in zip(self._started.values(), self._waiters, strict=True):
            if process.poll() is not None or not psutil.pid_exists(process.pid):
                waiter.join(5)

    def _is_ours(self, process: psutil.Process) -> bool:
        """Whether we started it: its own thread waits for it, and no other may reap it."""
        return any(process.pid == started.pid for started in self._started.values())

    def _read(self) -> None:
        while not self._is_closing:
            fds = [output.fd for output in self._outputs]
            ready, _, _ = select.select([self._wake_read, *fds], [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            for output in [output for output in self._outputs if output.fd in ready]:
                self._read_from(output)

    def _read_from(self, output: _Output) -> None:
        """Pass on what is there. It does so under the lock, so a drain never overtakes the reader thread."""
        with self._reading:
            while True:
                try:
                    data = os.read(output.fd, 65536)
                except BlockingIOError:
                    return
                if not data:
                    if output in self._outputs:
                        self._outputs.remove(output)
                        if output.rest:
                            output.on_line(output.rest.decode("utf-8", "replace"))
                    return
                *lines, output.rest = (output.rest + data).split(b"\n")
                for line in lines:
                    output.on_line(line.decode("utf-8", "replace"))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
