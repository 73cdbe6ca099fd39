"""The web adapter's readiness checks before the snapshot: which may be answered early, and which lets go. No I/O.

An adapter from 1.1 on asks for restore/next itself, after a known number of checks. The last of them is held until the
before-snapshot hooks have run. The adapter repeats a check that it has dropped, and it may make fewer than we expect.
"""

from __future__ import annotations

from snapext_extension.boundary.actions import Action, SetTimer, TimerName
from snapext_extension.boundary.settings import WAITING_EVERY_MS

MISSING_CHECK_MS = 5_000
"""An adapter that makes one check fewer than its binary says must not hold the initialisation without end."""


class Checks:
    """expected: how many there are before the snapshot."""

    def __init__(self, expected: int) -> None:
        self.held = False
        self.answered = 0
        self._expected = expected
        self._unanswered = False  # the adapter repeats a check that it has dropped
        self._awaited_since_ms: float | None = None

    def asked(self) -> None:
        self.held = self._unanswered = True

    def hung_up(self, still_held: int) -> None:
        self.held = still_held > 0

    def counted(self) -> None:
        """An answer was written to a connection that was still open."""
        self.answered += 1
        self._unanswered = False
        self._awaited_since_ms = None

    @property
    def early_is_held(self) -> bool:
        """Whether the check that is held is not the last one before the snapshot."""
        return self.held and self.answered + 1 < self._expected

    @property
    def are_all_answered(self) -> bool:
        return self.answered >= self._expected

    def wait_for_next(self, now_ms: float) -> list[Action]:
        """The next check lets the snapshot be taken.

        Processes that join meanwhile are waited for, and do not put off the moment at which we stop waiting.
        """
        actions: list[Action] = []
        if self._awaited_since_ms is None:
            self._awaited_since_ms = now_ms
            actions.append(SetTimer(TimerName.WAITING, WAITING_EVERY_MS))
        if self.answered:
            left_ms = self._awaited_since_ms + MISSING_CHECK_MS - now_ms
            actions.append(SetTimer(TimerName.EVENT_NEXT, max(0.0, left_ms)))
        return actions

    def expect_no_more(self) -> bool:
        """The one that we expected has not come. Returns whether there is none that the adapter would repeat."""
        if self._unanswered:
            return False
        self._expected = self.answered
        return True
