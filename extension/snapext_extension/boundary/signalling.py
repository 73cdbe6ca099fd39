"""Reaching members by signal: which processes were sent one, and whether there may be more to find. No I/O.

In each phase we search for the function's processes that are not connected and catch the phase's signal, and signal
them (SendSignals). The search is repeated until it finds nobody: one may have started while the others were busy.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from snapext.wire.phases import AFTER_RESTORE
from snapext_extension.boundary.actions import Action, Report, SendSignals, SetTimer, TimerName
from snapext_extension.boundary.events import SignalsSent

SEARCH_AGAIN_MS = 20
MAX_SEARCHES = 5
"""A program that forks all the time always has young children. A child of the first search is none at the last."""
GRACE_MS = 200
"""For processes that cannot say when they are done."""
MAX_UNASKED = 10


class Search(enum.Enum):
    """How far the search of the phase is."""

    OVER = "the last one found nobody"
    ASKED = "its answer is to come"
    AGAIN = "it found some: the next one is due when they are done"
    PAUSED = "it left out some that are too young: the next one is due when the timer fires"


class Signalling:
    """enabled: False without SNAPEXT_SIGNALS: then no search begins. acknowledged: processes say when they are done."""

    def __init__(self, *, enabled: bool, acknowledged: bool) -> None:
        self.search = Search.OVER
        self._enabled = enabled
        self._acknowledged = acknowledged
        self._searches = 0
        self._signalled: set[int] = set()  # pids, in this phase
        self._members: set[int] = set()  # pids signalled in any phase, until they come to the socket because of that
        self._visitors: set[int] = set()  # pids that come to the socket only when signalled, with hooks for the restore
        self._reached_any = False
        self._unasked = 0

    def begin_phase(self) -> None:
        self._signalled.clear()
        self._searches = 0

    def find(self, phase: str, on_socket: Iterable[int], callers: frozenset[int]) -> list[Action]:
        """Search for processes to signal. on_socket: the pids of members there. callers: of commands that wait."""
        if not self._enabled:
            return []
        self.search = Search.ASKED
        self._searches += 1
        return [
            SendSignals(
                phase,
                left_alone=frozenset(set(on_socket) - self._members | self._signalled),
                callers=callers,
                expected=frozenset(self._visitors - self._signalled) if phase == AFTER_RESTORE else frozenset(),
                accept_fleeting=self._searches >= MAX_SEARCHES,
            )
        ]

    def found(self, phase: str, sent: SignalsSent) -> list[Action]:
        """Take the answer to a search."""
        pids = {process.pid for process in sent.processes}
        self._signalled |= pids
        self._members |= pids
        self._reached_any = self._reached_any or bool(pids)
        actions: list[Action] = []
        if pids and not self._acknowledged:
            actions.append(SetTimer(TimerName.GRACE, GRACE_MS))
        if sent.fleeting:
            self.search = Search.PAUSED
            actions.append(SetTimer(TimerName.SEARCH, SEARCH_AGAIN_MS))
            return actions
        self.search = Search.AGAIN if pids else Search.OVER
        if phase == AFTER_RESTORE and not self._reached_any:
            message = f"SNAPEXT_SIGNALS is set, and no process of the function has a handler (none for {sent.signal})"
            actions.append(Report("warning", "nobody_signalled", {"message": message}))
        return actions

    def end_pause(self) -> bool:
        """The timer has fired. Returns whether a search is due because of it."""
        if self.search is not Search.PAUSED:
            return False
        self.search = Search.AGAIN
        return True

    def came_to_socket(self, pid: int, *, hooks_after_restore: bool) -> None:
        """A signalled process has come to be told all there: that is its answer."""
        self._members.discard(pid)
        if hooks_after_restore:
            self._visitors.add(pid)

    def is_visitor(self, pid: int) -> bool:
        """Whether a process comes to the socket only when it is signalled: it hangs up by itself."""
        return pid in self._visitors

    def nearest(self, pids: Iterable[int]) -> int | None:
        """The first of some processes that was signalled in this phase: `snapext done` names its parents in order."""
        return next((pid for pid in pids if pid in self._signalled), None)

    def unasked(self, pids: tuple[int, ...]) -> list[Action]:
        """Nobody waits for this answer. Some of them are logged: a flood of answers is no flood of lines."""
        self._unasked += 1
        if self._unasked > MAX_UNASKED:
            return []
        return [Report("warning", "acknowledged_unasked", {"pids": pids[:MAX_UNASKED]})]
