"""The board of this environment: which process has which line, and which hook a line names (snapext.wire.board).

One sealed file in memory for all. Nothing but the name that is shown depends on it: every process of the user can write
every line. We read a line by a system call, so no process can make us fail by what it does to the file.
"""

from __future__ import annotations

import contextlib
import os

from snapext.wire.board import LINE_BYTES, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Owner:
    """The process that has a line. image: what tells it from another one of the same number. keys: its connections."""

    __slots__ = ("image", "keys", "line")

    def __init__(self, line: int, image: object) -> None:
        self.line = line
        self.image = image
        self.keys: set[int] = set()


class Board:
    """size: how many lines there are. has_ended: whether a process has ended, and the boundary waits for it no more.

    descriptor: of the file, which is made with the first line. None before, and where there is none, because the kernel
    has no such files or no descriptor is left: processes then send `running`.
    """

    def __init__(self, size: int, has_ended: Callable[[int], bool]) -> None:
        self.descriptor: int | None = None
        self._size = size
        self._has_ended = has_ended
        self._owners: dict[int, _Owner] = {}
        self._pids: dict[int, int] = {}  # by connection
        self._free: list[int] = []
        self._used = 0

    def claim(self, key: int, pid: int, image: object) -> int | None:
        """The line of a process for its connection, the same when it comes back; None if there is none for it."""
        if self.descriptor is None:
            self.descriptor = _make(self._size)
        if self.descriptor is None:
            return None
        owner = self._owners.get(pid)
        if owner is not None and owner.image != image:
            self._give_back(pid)  # the process that had this number has ended, or this one has executed another program
            owner = None
        if owner is None:
            line = self._next_free()
            if line is None:
                return None
            owner = self._owners[pid] = _Owner(line, image)
        owner.keys.add(key)
        self._pids[key] = pid
        return owner.line

    def hook(self, pid: int, generation: int) -> str | None:
        """The hook that the process has written down for this generation, if it has."""
        owner = self._owners.get(pid)
        if owner is None or self.descriptor is None:
            return None
        try:
            return read(os.pread(self.descriptor, LINE_BYTES, owner.line * LINE_BYTES), generation)
        except OSError:
            return None

    def hung_up(self, key: int, *, ended: bool) -> None:
        """A connection has ended. ended: so has its process or its program, and that has been reported."""
        pid = self._pids.pop(key, None)
        owner = None if pid is None else self._owners.get(pid)
        if pid is not None and owner is not None:
            owner.keys.discard(key)
            if ended:
                self.ended(pid)

    def ended(self, pid: int) -> None:
        """A process has ended, or executes another program, and that has been reported."""
        owner = self._owners.get(pid)
        if owner is not None and not owner.keys:
            self._give_back(pid)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def _next_free(self) -> int | None:
        """A line that is empty. Whether those that live without a connection have ended is looked at when needed."""
        if not self._free and self._used == self._size:
            for pid in [pid for pid, owner in self._owners.items() if not owner.keys and self._has_ended(pid)]:
                self._give_back(pid)
        if self._free:
            return self._free.pop()
        if self._used == self._size:
            return None
        self._used += 1
        return self._used - 1

    def _give_back(self, pid: int) -> None:
        owner = self._owners.pop(pid)
        for key in owner.keys:
            self._pids.pop(key, None)
        if self.descriptor is not None:
            with contextlib.suppress(OSError):  # no memory for a page that nobody has written to
                os.pwrite(self.descriptor, bytes(LINE_BYTES), owner.line * LINE_BYTES)
        self._free.append(owner.line)


def _make(size: int) -> int | None:
    """Pages are made as they are written to. The size is sealed: a process that maps the file can rely on it."""
    descriptor = -1
    try:
        import fcntl  # here: none needs it where none has hooks

        descriptor = os.memfd_create("snapext-board", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size * LINE_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except (OSError, ImportError):  # an old kernel, or no descriptor is left
        if descriptor >= 0:
            os.close(descriptor)
        return None
    return descriptor
