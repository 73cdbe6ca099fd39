"""Descriptors that are kept for the calls to the platform, so that a process that has none left can still report it."""

from __future__ import annotations

import contextlib
import os

SIZE = 3
"""For restore/next and event/next, which are open together, and for the report of an error."""


class Reserve:
    """Holds SIZE descriptors open, or as many as there are."""

    def __init__(self) -> None:
        self._spare: list[int] = []
        with contextlib.suppress(OSError):
            for _ in range(SIZE):
                self._spare.append(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))

    def release(self) -> bool:
        """Close one, so that the next call that opens something gets it. False if there is none."""
        if not self._spare:
            return False
        os.close(self._spare.pop())
        return True
