"""The processes behind the connections: which of them are there, have lost their connection and live, or have ended.

The bridge knows connections, and the kernel processes. Here the one is put to the other, and what follows is an event.
"""

from __future__ import annotations

from collections.abc import Callable

from snapext.wire.messages import Hello
from snapext_extension.boundary import events
from snapext_extension.boundary.failures import Process
from snapext_extension.kernel import processes, watch
from snapext_extension.kernel.watch import ProcessWatch
from snapext_extension.peers.board import Board
from snapext_extension.peers.bridge import MAX_CONNECTIONS
from snapext_extension.reactor import Reactor


class Presence:
    """happen: takes what follows. is_watched: whether the end of the process of a connection is still worth knowing.

    give_line: tells a process, with its welcome, which line of the board is its own, and passes the file's descriptor.
    """

    def __init__(
        self,
        reactor: Reactor,
        happen: Callable[[events.Event], None],
        is_watched: Callable[[int], bool],
        give_line: Callable[[int, int, int], None],
    ) -> None:
        self._happen = happen
        self._is_watched = is_watched
        self._give_line = give_line
        self._lost: dict[int, int] = {}  # the connection that a process has lost, by its pid
        self._images: dict[int, watch.Image | None] = {}
        self._watch = ProcessWatch(reactor, self._ended)
        self._board = Board(MAX_CONNECTIONS, lambda pid: pid not in self._lost and watch.has_ended(pid))
        self.hook_on_board = self._board.hook

    def joined(self, key: int, pid: int, hello: Hello, *, has_board: bool) -> None:
        """A process has said hello, for the first time or again. has_board: whether it may have a line."""
        # One that is gone already has no parent and is taken to be as old as can be: it is owed its hooks.
        stat = processes.stat(pid)
        parent_pid, start_ticks = (0, 0) if stat is None else (stat.parent_pid, stat.start_ticks)
        self._images[key] = image = watch.image(pid)
        if hello.board and has_board:
            line = self._board.claim(key, pid, (start_ticks, image))
            if line is not None and self._board.descriptor is not None:
                self._give_line(key, line, self._board.descriptor)
        if self._lost.pop(pid, None) is not None:
            self._watch.drop(pid)
        self._happen(events.Joined(key, Process(pid, hello.name), hello, parent_pid, start_ticks))

    def left(self, key: int, pid: int) -> None:
        """A connection has ended; if its process has not, the kernel tells us when it does (pidfd_open(2))."""
        image = self._images.pop(key, None)
        now = watch.image(pid)
        executes_another = image is not None and now is not None and image != now
        if executes_another or not self._watch.watch(pid, image):
            self._happen(events.Left(key))
            self._board.hung_up(key, ended=True)
            return
        self._lost[pid] = key
        self._happen(events.Left(key, alive=True))
        self._board.hung_up(key, ended=False)
        self.watch_no_more_than_is_owed()

    def watch_no_more_than_is_owed(self) -> None:
        """Each process that is watched costs a descriptor, or a look every 100 ms."""
        for pid, key in list(self._lost.items()):
            if not self._is_watched(key):
                self._watch.drop(pid)
                del self._lost[pid]

    def look_at_lost(self) -> None:
        """One that executes another program has ended: what it owed is gone with the one before."""
        for pid in self._watch.changed():
            self._watch.drop(pid)
            self._ended(pid)

    def close(self) -> None:
        self._watch.close()
        self._board.close()

    def _ended(self, pid: int) -> None:
        key = self._lost.pop(pid, None)
        if key is not None:
            self._happen(events.Left(key))
            self._board.ended(pid)
