"""The event loop of an app that has told us of none: the only one that runs in this process."""

from __future__ import annotations

import sys

from snapext.hooks import loops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    Find = Callable[[tuple[type, ...]], list[AbstractEventLoop]]

TURNS_WITHIN_S = 5.0
"""A loop of the app turns in a millisecond, but on a busy machine not always in a second. In a fork, the loop of the
parent looks as if it ran, and never turns: there this is waited for once, before the snapshot."""


def kinds() -> tuple[type, ...]:
    """The class of all loops, uvloop's as well; none while asyncio is not loaded."""
    kind = getattr(sys.modules.get("asyncio.events"), "AbstractEventLoop", None)
    return () if kind is None else (kind,)


class AppsLoop:
    """One search in each phase, whatever it finds."""

    def __init__(self) -> None:
        self._searched = False

    def forget(self) -> None:
        self._searched = False

    def bind(self, find: Find) -> None:
        """Bind it, unless one is bound that runs. What one of several is for, nobody knows."""
        if self._searched or loops.bound_running_loop() is not None or loops.running_loop() is not None:
            return
        self._searched = True
        import threading

        running = [loop for loop in find(kinds()) if loop.is_running()]
        if len(running) == 1:
            turns = threading.Event()
            running[0].call_soon_threadsafe(turns.set)
            if turns.wait(TURNS_WITHIN_S):
                loops.bind_loop(running[0])
