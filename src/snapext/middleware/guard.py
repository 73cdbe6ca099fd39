"""Whether a request may pass: the one state of a process, which all its middlewares share.

A process waits for its restore, runs its after-restore hooks once, and from then on everything passes unseen. Until the
restore a request costs two readings of a clock and no lock.
"""

from __future__ import annotations

import os

from snapext.clock.reader import Reader
from snapext.clock.restore import RestoreClock
from snapext.guest import notice
from snapext.guest.own import is_off, is_snap_start
from snapext.guest.primitives import Lock
from snapext.hooks import loops, registry
from snapext.link import linking
from snapext.link.link import Link
from snapext.middleware.restoring import Restoring
from snapext.middleware.routes import ENV_PATHS, Routes
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING = float("-inf")
CALM = frozenset({"init", BEFORE_SNAPSHOT})
"""Phases in which a request cannot come from after the restore."""


class Guard:
    """is_open: everything passes. Never so before the restore, where one may come. is_off: no hook ever runs."""

    def __init__(self, environ: Mapping[str, str], reader: Reader | None = None) -> None:
        may_restore = is_snap_start(environ)
        self.is_off = is_off(environ)
        self.is_open = self.is_off or not may_restore
        self._reader = reader or Reader()
        self._wall, self._steady = self._reader.wall, self._reader.steady
        self.routes = Routes(environ if may_restore else {})
        if self.routes.problem:
            notice.once("routes", self.routes.problem)
        self._clock = RestoreClock(self._reader.read())
        self._low, self._high = self._clock.low, NOTHING  # the first request is looked at, whatever the clock says
        self._seen_any = False
        self._owes = False  # a restore has begun: no clock needs to show it any more
        self._restoring: Restoring | None = None
        self._lock = Lock()

    def may_pass(self) -> bool:
        """Whether a request need not wait. It is asked of each, before anything else is done with it."""
        if self.is_open:
            return True
        if self._low < self._wall() - self._steady() < self._high and linking.current().view.phase in CALM:
            return True
        return self._look()

    def claim(self, *, told: bool = False) -> tuple[Restoring, bool]:
        """The restore of this process, and whether the caller is to run it. told: the web adapter says so."""
        with self._lock:
            restoring = self._restoring
            if restoring is not None:
                return restoring, False
            self._owes = True
            self._high = NOTHING  # nothing passes by the clock any more
            self._restoring = Restoring(told=told, is_over=self._is_over)
            return self._restoring, True

    def remember(self) -> None:
        """The snapshot comes now: what the clocks say is what they said before it."""
        if not self._owes:
            self._clock = RestoreClock(self._reader.read())
            self._low, self._high = self._clock.low, self._clock.high

    def is_restoring(self) -> bool:
        return self._owes

    def forked(self) -> None:
        """In a child: the threads that ran the hooks are its parent's, and the memory is from before the snapshot.

        It owes its hooks from the start if its parent did: the web adapter may post before the clock is set.
        """
        self._lock = Lock()
        if not self.is_open:
            self._restoring = None
            if self._owes:
                self._high = NOTHING

    def _is_over(self) -> None:
        self.is_open = True

    def _look(self) -> bool:
        """The clock says something new, or the extension does, or this is the first request."""
        if self._restoring is not None:
            return self.is_open
        link = linking.current()
        view = link.view
        if view.generation:  # the extension has had the hooks run; or this process began after the restore
            self.is_open = True
            link.tell_hook_counts()  # if it was too slow to hear of a request that has passed
            return True
        if self._owes or view.phase == AFTER_RESTORE or self._clock.take(self._reader.read()):
            return False
        with self._lock:
            if self.is_restoring():  # since this look began
                return False
            self._low, self._high = self._clock.low, self._clock.high
        if not self._seen_any:
            self._seen_any = True
            self._on_first_request()
        if view.phase not in CALM:
            self._passes(link)
        return True

    def _passes(self, link: Link) -> None:
        """A request passes between the hooks of the two phases: the clock is set late, or it comes from inside."""
        with self._lock:
            link.view.passed = (link.view.passed or 0) + 1
        link.tell_hook_counts()

    def _on_first_request(self) -> None:
        """The app is up, and a snapshot may come: have what the hooks need, and say what will not run."""
        loops.bind_running_loop()
        if not linking.current().is_connected():
            linking.current().prepare()
        before, _ = registry.counts()
        if before and not linking.current().is_connected() and not self.routes.is_set(BEFORE_SNAPSHOT):
            notice.once(
                "no before_snapshot",
                f"the {before} before-snapshot hooks of process {os.getpid()} cannot run: no extension answers. Attach "
                "the snapext layer, or, with a web adapter from 1.1 on and one worker, set "
                f"{ENV_PATHS[BEFORE_SNAPSHOT]}. The after-restore hooks run at the first request after the restore. "
                "A process that began after the restore, which it cannot know without the layer, has none to run",
            )


_guard: Guard | None = None
_making = Lock()


def current() -> Guard:
    """The guard of this process: made with the first middleware, and the clocks are remembered then."""
    global _guard
    with _making:  # a second one would be reset by no fork
        if _guard is not None:
            return _guard
        _guard = made = Guard(os.environ)
    Link.has_middleware = True
    linking.join()
    link = linking.current()
    link.view.passed = link.view.passed or 0
    link.tell_hook_counts()
    return made


def _forked() -> None:
    global _making
    _making = Lock()  # the thread that had it may be the parent's
    if _guard is not None:
        _guard.forked()


os.register_at_fork(after_in_child=_forked)
