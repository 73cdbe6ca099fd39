"""Who must be there before the boundary begins: what the kernel shows of the function, compared with who has joined.

Workers are the processes that hold a listening socket on the app's port. Behind a proxy no Python process holds that
port: then all that listen anywhere count. A Python process among them that has not joined may still be importing, and
is waited for until its main thread has been at rest for a while: then it has imported no hook module, and has no hooks.
No I/O: looks come in, and who asks gives the time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from snapext_extension.failures import Process


@dataclass(frozen=True, slots=True)
class Sighting:
    """One process of the function at one moment.

    holds_port: it holds a listening socket on the app's own port. listens: it holds any listening socket.
    at_rest: its main thread waits for something from outside, as a server does that has started.
    cause, remedy: why no channel of ours can have reached this Python process, and which line to change; else empty.
    """

    process: Process
    parent_pid: int
    holds_port: bool = False
    listens: bool = False
    python: bool = False
    at_rest: bool = False
    command: str = ""
    cause: str = ""
    remedy: str = ""


class Attendance:
    """The latest look at the function's processes, and since when each has been at rest.

    settle_ms: how long a main thread must be at rest, at every look, before it is taken to have started.
    """

    def __init__(self, settle_ms: float) -> None:
        self._settle_ms = settle_ms
        self._seen: dict[int, Sighting] = {}
        self._new: set[int] = set()  # seen by the latest look, and by none before
        self._resting_since_ms: dict[int, float] = {}
        self.ended = 0
        """How many Python processes were seen and have ended."""

    def look(self, sightings: Iterable[Sighting], now_ms: float) -> bool:
        """Take a new look. Returns whether somebody listens who was not seen to before."""
        before, self._seen = self._seen, {sighting.process.pid: sighting for sighting in sightings}
        self.ended += sum(sighting.python for pid, sighting in before.items() if pid not in self._seen)
        self._new = set(self._seen) - set(before)
        self._resting_since_ms = {
            pid: self._resting_since_ms.get(pid, now_ms) for pid, sighting in self._seen.items() if sighting.at_rest
        }
        return any(
            sighting.listens and not (pid in before and before[pid].listens) for pid, sighting in self._seen.items()
        )

    def is_resting(self, pid: int, now_ms: float) -> bool:
        """Whether a process has been at rest for the settling time. One that was not seen is not."""
        since_ms = self._resting_since_ms.get(pid)
        return since_ms is not None and now_ms - since_ms >= self._settle_ms

    def is_serving(self, pid: int, importing: Collection[int], now_ms: float) -> bool:
        """Whether a process that looks as if it were importing serves from within that import, as some programs do.

        The app answers, and nobody else can have given the answer; or it supervises others that hold its socket. Where
        several look so, one of them has answered: those that are at rest serve.
        """
        own = self._seen.get(pid)
        if own is None or not own.holds_port:
            return False
        others = {s.process.pid for s in self._holders() if not self._has_child_with_port(s.process.pid)} - {pid}
        if self._has_child_with_port(pid) or (others and others.issubset(importing)):
            return self.is_resting(pid, now_ms)
        return not others

    def may_still_join(self, joined: Collection[int], now_ms: float, *, patient: bool = True) -> list[Sighting]:
        """The Python workers that have not joined, could, and may still be importing what would make them.

        patient: count also those seen for the first time; a program that forks all the time always has one.
        """
        return [
            sighting
            for sighting in self._workers()
            if sighting.process.pid not in joined
            and not sighting.cause
            and not self.is_resting(sighting.process.pid, now_ms)
            and (patient or sighting.process.pid not in self._new)
        ]

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

    def is_supervisor_of(self, pid: int, joined: Collection[int]) -> bool:
        """Whether a process holds the app's port together with a child of its own that has joined."""
        own = self._seen.get(pid)
        return (
            own is not None
            and own.holds_port
            and any(other.parent_pid == pid and other.process.pid in joined for other in self._holders())
        )

    def _holders(self) -> list[Sighting]:
        return [sighting for sighting in self._seen.values() if sighting.holds_port]

    def _workers(self) -> list[Sighting]:
        python = [sighting for sighting in self._seen.values() if sighting.python]
        holders = [sighting for sighting in python if sighting.holds_port]
        return holders or [sighting for sighting in python if sighting.listens]

    def _has_child_with_port(self, pid: int) -> bool:
        return any(other.parent_pid == pid for other in self._holders())
