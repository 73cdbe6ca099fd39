"""Which processes must be there before the boundary begins: what the kernel shows, compared with the members.

Workers are the processes that hold a listening socket on the app's port. Behind a proxy no Python process holds that
port: then all that listen anywhere count. A Python process among them that has not joined may still be importing, and
is waited for until its main thread waits for connections: then it has imported no hook module, and has no hooks. An
import may wait as well, for a database say; so any other wait has to last much longer to mean the same.
No I/O: looks come in, and each question gives the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from snapext_extension.boundary.failures import Process
from snapext_extension.data import Data

LONG_REST_MS = 10_000
"""A server may serve in other threads, and do in its main thread what an import does that waits for somebody."""


class Sighting(Data):
    """One process of the function at one moment.

    holds_port: it holds a listening socket on the app's own port. listens: it holds any listening socket.
    at_rest: its main thread waits for something from outside. accepts: for connections, as only a server does.
    started_ms: when it started, by the clock of the looks; 10 ms too early at most.
    image: what its memory has in common with its parent's, if it is a fork (watch.py); None if that is not known.
    cause, remedy: why no channel of ours can have reached this Python process, and which line to change; else empty.
    """

    process: Process
    parent_pid: int
    holds_port: bool = False
    listens: bool = False
    python: bool = False
    at_rest: bool = False
    accepts: bool = False
    image: tuple[int, int] | None = None
    command: str = ""
    cause: str = ""
    remedy: str = ""
    started_ms: float = 0.0


class Attendance:
    """The latest look at the function's processes, and since when each has been at rest.

    settle_ms: how long a main thread must be at rest, at every look, before it is taken to have started.
    """

    def __init__(self, settle_ms: float) -> None:
        self._settle_ms = settle_ms
        self._seen: dict[int, Sighting] = {}
        self._new: set[int] = set()  # seen by the latest look, and by none before
        self._resting_since_ms: dict[int, float] = {}
        self._accepting_since_ms: dict[int, float] = {}
        self.ended = 0
        """How many Python processes were seen and have ended."""

    def look(self, sightings: Iterable[Sighting], now_ms: float) -> bool:
        """Take a new look. Returns whether a process listens that was not seen to listen before."""
        before, self._seen = self._seen, {sighting.process.pid: sighting for sighting in sightings}
        self.ended += sum(sighting.python for pid, sighting in before.items() if pid not in self._seen)
        self._new = set(self._seen) - set(before)
        self._resting_since_ms = {
            pid: self._resting_since_ms.get(pid, now_ms) for pid, sighting in self._seen.items() if sighting.at_rest
        }
        self._accepting_since_ms = {
            pid: self._accepting_since_ms.get(pid, now_ms) for pid, sighting in self._seen.items() if sighting.accepts
        }
        return any(
            sighting.listens and not (pid in before and before[pid].listens) for pid, sighting in self._seen.items()
        )

    def is_resting(self, pid: int, now_ms: float) -> bool:
        """Whether a process has been at rest for the settling time. One that was not seen is not."""
        return self._lasts(self._resting_since_ms, pid, now_ms, self._settle_ms)

    def is_serving(self, pid: int, importing: Collection[int], now_ms: float, answered_ms: float) -> bool:
        """Whether a process that looks as if it were importing serves from within that import, as some programs do.

        Its main thread waits for connections; or the app answered at `answered_ms`, and nobody else can have given the
        answer. Otherwise it has to rest for long: it supervises others that hold its socket, has taken the place of the
        one that answered, or none of them has told yet that it is done, as the one that answered may still have to do.
        """
        own = self._seen.get(pid)
        if own is None or not own.holds_port:
            return False
        others = [
            sighting.process.pid
            for sighting in self._holders()
            if sighting.process.pid != pid and not self._has_child_with_port(sighting.process.pid)
        ]
        if not others and own.started_ms <= answered_ms:
            return True
        if self._lasts(self._accepting_since_ms, pid, now_ms, self._settle_ms):
            return True
        may_rest = self._has_child_with_port(pid) or all(other in importing for other in others)
        return may_rest and self._lasts(self._resting_since_ms, pid, now_ms, max(LONG_REST_MS, self._settle_ms))

    def may_still_join(self, joined: Collection[int], now_ms: float, *, patient: bool = True) -> list[Sighting]:
        """The Python workers that have not joined, could, and may still be importing what would make them.

        patient: count also those seen for the first time; a program that forks all the time always has one.
        """
        return [
            sighting
            for sighting in self._workers()
            if sighting.process.pid not in joined
            and not sighting.cause
            and not self._has_started(sighting.process.pid, joined, now_ms)
            and (patient or sighting.process.pid not in self._new)
        ]

    def listening_elsewhere(self) -> Process | None:
        """A process that listens while none holds the app's port: the app may have another than the settings say."""
        if self._holders():
            return None
        return next((sighting.process for sighting in self._seen.values() if sighting.listens), None)

    def unlinked(self, joined: Collection[int]) -> list[Sighting]:
        """The Python processes of the function that have not joined and cannot: no channel of ours reached them."""
        return [s for pid, s in self._seen.items() if s.cause and pid not in joined]

    def strangers(self, joined: Collection[int]) -> list[Sighting]:
        """Those that hold the app's port, are not Python and have not joined: nothing is known of their state."""
        return [
            sighting
            for sighting in self._holders()
            if not sighting.python
            and sighting.process.pid not in joined
            and not self._has_child_with_port(sighting.process.pid)
        ]

    def not_joined(self, joined: Collection[int]) -> list[Sighting]:
        """The Python workers that have not joined, supervisors left out."""
        return [
            sighting
            for sighting in self._workers()
            if sighting.process.pid not in joined and not self._has_child_with_port(sighting.process.pid)
        ]

    def supervisors(self, joined: Collection[int]) -> set[int]:
        """The processes that hold the app's port together with a child of their own that has joined."""
        holders = self._holders()
        parents = {holder.parent_pid for holder in holders if holder.process.pid in joined}
        return parents & {holder.process.pid for holder in holders}

    def others(self, joined: Collection[int]) -> list[Sighting]:
        """The Python processes that could join, have not, and do not listen; those that started one that has, left out.

        Nor Python's own helpers, which multiprocessing starts.
        """
        above: set[int] = set()
        for pid in joined:
            while pid in self._seen and pid not in above:
                above.add(pid)
                pid = self._seen[pid].parent_pid
            above.add(pid)
        workers = {sighting.process.pid for sighting in self._workers()}
        return [
            sighting
            for pid, sighting in self._seen.items()
            if sighting.python and not sighting.cause and pid not in above and pid not in workers
            if "from multiprocessing." not in sighting.command
        ]

    def is_fork_of_parent(self, sighting: Sighting) -> bool:
        """Whether a process is a copy of its parent: it executes no program of its own, nor is it about to."""
        parent = self._seen.get(sighting.parent_pid)
        is_new = sighting.process.pid in self._new
        return not is_new and parent is not None and sighting.image is not None and sighting.image == parent.image

    def _has_started(self, pid: int, joined: Collection[int], now_ms: float) -> bool:
        """Whether a process has started what it has to start, as far as that can be seen from outside."""
        if self._lasts(self._accepting_since_ms, pid, now_ms, self._settle_ms):
            return True
        if self._lasts(self._resting_since_ms, pid, now_ms, max(LONG_REST_MS, self._settle_ms)):
            return True
        is_supervisor = any(s.parent_pid == pid and s.process.pid in joined for s in self._workers())
        return is_supervisor and self.is_resting(pid, now_ms)

    @staticmethod
    def _lasts(since_ms: dict[int, float], pid: int, now_ms: float, for_ms: float) -> bool:
        """Whether what began at `since_ms` for a process has lasted."""
        return pid in since_ms and now_ms - since_ms[pid] >= for_ms

    def _holders(self) -> list[Sighting]:
        return [sighting for sighting in self._seen.values() if sighting.holds_port]

    def _workers(self) -> list[Sighting]:
        python = [sighting for sighting in self._seen.values() if sighting.python]
        holders = [sighting for sighting in python if sighting.holds_port]
        return holders or [sighting for sighting in python if sighting.listens]

    def _has_child_with_port(self, pid: int) -> bool:
        return any(other.parent_pid == pid and other.holds_port for other in self._seen.values())
