"""Work in the background that uses a connection while the phase runs: it gets some time, then the connection is closed.

No request is served before the snapshot, so this is a job of the app's own: it warms a cache up, or it listens.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WAIT_S = 2.0
"""For all in one phase: what listens never comes to an end."""
SETTLE_S = 0.1
"""For all in one phase as well, not counting other waits: work may be between its last query and its commit. A
transaction that nobody will ever end, of a session that is kept open, looks the same, and would cost each start the
whole wait."""
LOOK_EVERY_S = 0.02
CANCELED_WITHIN_S = 2.0
"""The server answers at once to a cancellation, and its client then gives way."""


class Patience:
    """What is left of the two times in this phase. Each begins with the first connection that needs it."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._settled_s = 0.0

    def forget(self) -> None:
        self._until, self._settled_s = None, 0.0

    def is_at_rest(self, is_busy: Callable[[], bool]) -> bool:
        """Wait while it is busy; False if it is busy still when the time is over."""
        return rests_until(self._deadline, is_busy)

    def settle(self, is_unclear: Callable[[], bool]) -> None:
        """Wait a moment while an open transaction may be left open for good, or be about to go on or to end."""
        began = time.monotonic()
        until = began + SETTLE_S - self._settled_s
        rests_until(lambda: until, is_unclear)
        self._settled_s += time.monotonic() - began

    async def is_at_rest_here(self, is_busy: Callable[[], Awaitable[bool]]) -> bool:
        """The same on the app's loop."""
        import asyncio

        while await is_busy():
            if time.monotonic() >= self._deadline():
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def settle_here(self, is_unclear: Callable[[], bool]) -> None:
        """The same on the app's loop."""
        import asyncio

        began = time.monotonic()
        until = began + SETTLE_S - self._settled_s
        while is_unclear() and time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY_S)
        self._settled_s += time.monotonic() - began

    def _deadline(self) -> float:
        if self._until is None:
            self._until = time.monotonic() + WAIT_S
        return self._until


def rests_until(deadline: Callable[[], float], is_busy: Callable[[], bool]) -> bool:
    """Wait while it is busy; False if it is busy still at `deadline` (time.monotonic)."""
    while is_busy():
        if time.monotonic() >= deadline():
            return False
        time.sleep(LOOK_EVERY_S)
    return True


def in_use(what: str, instead: str) -> str:
    """The line about a connection that was closed while it was used. instead: what becomes of it, or what to write."""
    return (
        f"{what} was in use before the snapshot, by work in the background, and is closed now: a query that ran has "
        f"failed, and a transaction that was open is rolled back. {instead}"
    )


GIVEN_BACK = (
    "Let that work end, or give the connection back, in a before-snapshot hook, and go on in an after-restore hook"
)
"""For one of a pool or of Django, which has another when that is used next."""
IN_PLACE = (
    "It is opened again after the restore: commit in a before-snapshot hook, and begin again in an after-restore hook"
)
"""For one that goes on by itself, without what the transaction had written."""
