"""The signal transport: signal processes that are not on the socket, and hear which of them are done.

A signal says only that there is something to do. The answer is a line in a pipe beside the socket, or, from a process
that speaks the protocol, a connection to the socket itself. What to make of an answer is decided in lifecycle.py.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal

from snapext.errors import SnapextError
from snapext.wire.place import why_refuse_pipe
from snapext_extension.kernel import processes, tree
from snapext_extension.kernel.processes import Stat
from snapext_extension.log import Log
from snapext_extension.peers import own_file
from snapext_extension.reactor import Reactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from typing import Protocol

    class SignalListener(Protocol):
        """Hears what became of a signal."""

        def acknowledged(self, pids: tuple[int, ...], error: str | None, since_ticks: int | None) -> None: ...
        def signalled_ended(self, pid: int) -> None: ...


MAX_LINE_BYTES = 4096
"""What a pipe takes in one piece, so that two writers do not mix (PIPE_BUF, pipe(7))."""
_LINE = re.compile(r"(\d{1,10}(?:,\d{1,10})*)(?: +since +(\d{1,18}))?( +failed(?: +(.*))?)?")
FLEETING_TICKS = 5
"""A child this young may be a fork that is about to execute something else: it has its parent's handlers until then."""


class SignalError(SnapextError):
    """Signals cannot be sent, or not be answered. The text says why, in one line."""


class SignalTransport:
    """Sends signals, and reads the answers from the pipe at `path`. Raises SignalError if that cannot be made."""

    def __init__(self, path: str, uid: int, reactor: Reactor, log: Log, listener: SignalListener) -> None:
        self._path = path
        self._reactor = reactor
        self._log = log
        self._listener = listener
        self._signalled: dict[int, int] = {}
        self._received = b""
        self._pipe = _make_pipe(path, uid)
        self._made = os.fstat(self._pipe)
        reactor.watch(self._pipe, self._readable)

    def send(self, candidates: Iterable[Stat], number: int) -> list[Stat]:
        """Send a signal to each process that catches it, and to no other. Returns those that it was sent to."""
        return [process for process in candidates if self._send(process, number)]

    def close(self) -> None:
        for pid in list(self._signalled):
            self._forget(pid)
        self._reactor.unwatch(self._pipe)
        os.close(self._pipe)
        with contextlib.suppress(OSError):  # gone already
            own_file.remove(self._path, self._made)

    def _send(self, process: Stat, number: int) -> bool:
        """The descriptor keeps the pid from being given to another (pidfd_open(2)): looked at, it cannot be reused."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        except OSError as error:
            raise SignalError(
                f"process {process.pid} ({process.name}) cannot be signalled: {error.strerror}"
            ) from error
        now = processes.stat(process.pid)
        same = now is not None and now.start_ticks == process.start_ticks
        try:
            if not same or not processes.catches(process.pid, number):
                raise ProcessLookupError
            signal.pidfd_send_signal(descriptor, number)
        except OSError:  # gone, or not ours to signal: a process of another user
            os.close(descriptor)
            return False
        self._forget(process.pid)
        self._signalled[process.pid] = descriptor
        self._reactor.watch(descriptor, lambda: self._ended(process.pid))
        return True

    def _ended(self, pid: int) -> None:
        self._forget(pid)
        self._listener.signalled_ended(pid)

    def _forget(self, pid: int) -> None:
        descriptor = self._signalled.pop(pid, None)
        if descriptor is not None:
            self._reactor.unwatch(descriptor)
            os.close(descriptor)

    def _readable(self) -> None:
        try:
            data = os.read(self._pipe, 65536)
        except BlockingIOError:
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._received) > MAX_LINE_BYTES:
            self._complain("a line is longer than 4096 bytes")
            self._received = b""

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return  # `snapext done` begins with one
        match = _LINE.fullmatch(line.decode("utf-8", "replace").strip()[:MAX_LINE_BYTES])
        if match is None:
            self._complain(f"{line[:80]!r} is neither 'PID' nor 'PID failed MESSAGE'")
            return
        pids = tuple(int(pid) for pid in match[1].split(","))
        error = None if match[3] is None else match[4] or "its handler says no more"
        self._listener.acknowledged(pids, error, None if match[2] is None else int(match[2]))

    def _complain(self, reason: str) -> None:
        self._log.write("warning", "acknowledgement_refused", path=self._path, reason=reason)


class Candidates:
    """Processes of the start command that are not on the socket.

    waiting: shells that wait for `snapext checkpoint`, and could not answer. fleeting: forks so young that they may be
    about to become another program.
    """

    def __init__(self) -> None:
        self.told: list[Stat] = []
        self.waiting: list[Stat] = []
        self.fleeting: list[Stat] = []


def candidates(
    start_command_path: str, left_alone: Collection[int], exempt: Collection[int], number: int
) -> Candidates:
    """The processes that may be sent a signal. Raises SignalError when the start command is not known.

    exempt: those that wait for the checkpoint. A shell does not run a trap while it waits for a command in the
    foreground; a Python process does run its handlers meanwhile.
    """
    try:
        root = processes.parse_stat(tree.read_start_command(start_command_path))
    except ValueError:
        raise SignalError(
            f"SNAPEXT_SIGNALS is set, and {start_command_path} does not say which process the function was started "
            "as: set AWS_LAMBDA_EXEC_WRAPPER=/opt/snapext/bootstrap, which leaves it there"
        ) from None
    found = Candidates()
    youngest = processes.now_ticks() - FLEETING_TICKS
    for process in tree.with_descendants(root):
        if process.pid in left_alone:
            continue
        if process.pid in exempt and not processes.program(process.pid).startswith("python"):
            found.waiting.append(process)
        elif process.start_ticks >= youngest and _may_be_about_to_exec(process, number):
            found.fleeting.append(process)
        else:
            found.told.append(process)
    return found


def _may_be_about_to_exec(process: Stat, number: int) -> bool:
    return processes.catches(process.pid, number) and processes.catches(process.parent_pid, number)


def _make_pipe(path: str, uid: int) -> int:
    """Make the pipe, and open it. A pipe of ours that is there was left by an extension that was killed."""
    try:
        with contextlib.suppress(FileNotFoundError):
            why = why_refuse_pipe(os.lstat(path), uid)
            if why is not None:
                raise SignalError(f"{path} is in the way: {why}; remove it, or set SNAPEXT_SOCKET to another folder")
            os.unlink(path)
        os.mkfifo(path, 0o600)
        # For writing as well: a pipe without a writer is at its end, and would be readable for ever.
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise SignalError(f"{path} cannot be made: {error.strerror}") from error
