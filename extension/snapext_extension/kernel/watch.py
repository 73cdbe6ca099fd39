"""Watch processes that are not our children: when they end, and when they execute another program."""

from __future__ import annotations

import os
from collections.abc import Callable

from snapext_extension.data import Data
from snapext_extension.kernel.processes import read, stat_fields
from snapext_extension.reactor import Reactor

MAX_DESCRIPTORS = 32
"""How many processes are watched by a descriptor of their own; further ones are looked at every LOOK_MS."""
LOOK_MS = 100

Image = tuple[int, int]
"""What tells the memory of a process from what the next program that it executes will have."""


def image(pid: int) -> Image | None:
    """The memory image of a process; None while it is not known: it has ended, or we may not look at its memory.

    Each execve(2) draws new addresses; a fork has those of its parent. A program that gives itself another title does
    not change these two (proc(5): startcode and startstack).
    """
    seen = _see(pid)
    return None if seen is None else seen.image


def has_ended(pid: int) -> bool:
    """Whether there is no process of that number, or only what is left of one."""
    seen = _see(pid)
    return seen is not None and seen.has_ended


class _Seen(Data):
    """What /proc/PID/stat says of one process at one moment."""

    has_ended: bool
    start_ticks: int
    image: Image | None


def _see(pid: int) -> _Seen | None:
    """None while it cannot be read, although the process is there: no descriptor is left, for one.

    Where a file cannot be opened, kill(2) tells whether there is a process of that number.
    """
    try:
        fields = stat_fields(read(f"/proc/{pid}/stat"))
        start_code, start_stack = int(fields[23]), int(fields[25])
        # Without permission (ptrace(2)) they are 1 and 0.
        seen = (start_code, start_stack) if start_code > 1 and start_stack > 0 else None
        # A process whose main thread alone has ended is a zombie too, and still runs.
        has_ended = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1
        return _Seen(has_ended, int(fields[19]), seen)
    except (ValueError, IndexError):
        return None if _exists(pid) else _Seen(True, 0, None)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user
    return True


class _Watched:
    """A process that is watched. Without a descriptor it is looked at."""

    __slots__ = ("descriptor", "image", "start_ticks")

    def __init__(self, descriptor: int | None, start_ticks: int | None, image: Image | None) -> None:
        self.descriptor = descriptor
        self.start_ticks = start_ticks
        self.image = image


class ProcessWatch:
    """Calls `on_end` with the pid of each watched process that has ended, once; from then on it is not watched.

    The kernel says so by a descriptor for each process (pidfd_open(2)). Processes without a descriptor are looked
    at again and again: we notice their end a little later. No process counts as dead for lack of a descriptor.
    """

    def __init__(self, reactor: Reactor, on_end: Callable[[int], None]) -> None:
        self._reactor = reactor
        self._on_end = on_end
        self._watched: dict[int, _Watched] = {}
        self._descriptors = 0

    def watch(self, pid: int, image: Image | None = None, *, start_ticks: int | None = None) -> bool:
        """Begin to watch a process, if it is not watched already. False if it has ended.

        image: what its memory was; by default what it is now, or was when it was first watched.
        start_ticks: when it started, if that is known: another process may have the same number. If we still watch the
        one that had the number before, `on_end` is called for that first.
        """
        watched = self._watched.get(pid)
        if watched is not None and (start_ticks is None or watched.start_ticks in (None, start_ticks)):
            watched.image = image or watched.image
            return True
        if watched is not None:
            self._ended(pid)
        try:
            descriptor = self._open(pid)
        except ProcessLookupError:
            return False
        seen = _see(pid)  # after the descriptor was opened, so that both are of the same process
        if seen is not None and (seen.has_ended or start_ticks not in (None, seen.start_ticks)):
            if descriptor is not None:
                os.close(descriptor)
            return False
        known = (start_ticks, None) if seen is None else (seen.start_ticks, seen.image)
        if descriptor is not None:
            self._descriptors += 1
            self._reactor.watch(descriptor, lambda: self._ended(pid))
        elif not self._are_looked_at():
            self._reactor.set_timer(self, LOOK_MS, self._look_at_all)
        self._watched[pid] = _Watched(descriptor, known[0], image or known[1])
        return True

    def drop(self, pid: int) -> None:
        """Do not watch a process any more. It need not be watched."""
        watched = self._watched.pop(pid, None)
        if watched is not None and watched.descriptor is not None:
            self._descriptors -= 1
            self._reactor.unwatch(watched.descriptor)
            os.close(watched.descriptor)

    def changed(self) -> list[int]:
        """The watched processes that have executed another program since. What is not known is never a change."""
        pids = []
        for pid, watched in self._watched.items():
            now = image(pid) if watched.image is not None else None
            if now is not None and now != watched.image:
                pids.append(pid)
        return pids

    def close(self) -> None:
        self._reactor.cancel_timer(self)
        for pid in list(self._watched):
            self.drop(pid)

    def _open(self, pid: int) -> int | None:
        """Raises ProcessLookupError if there is no such process; None if it can only be looked at."""
        if self._descriptors >= MAX_DESCRIPTORS:
            return None
        try:
            return os.pidfd_open(pid)
        except ProcessLookupError:
            raise
        except OSError:
            return None

    def _ended(self, pid: int) -> None:
        self.drop(pid)
        self._on_end(pid)

    def _are_looked_at(self) -> bool:
        return any(watched.descriptor is None for watched in self._watched.values())

    def _look_at_all(self) -> None:
        """Look at those without a descriptor."""
        for pid, watched in list(self._watched.items()):
            if watched.descriptor is not None or self._watched.get(pid) is not watched:
                continue
            seen = _see(pid)
            if seen is not None and (seen.has_ended or watched.start_ticks not in (None, seen.start_ticks)):
                self._ended(pid)
        if self._are_looked_at():
            self._reactor.set_timer(self, LOOK_MS, self._look_at_all)
