"""Which generation this process runs in, asked of the extension: one that began after the restore is told so."""

from __future__ import annotations

import os

from snapext.errors import ControlError
from snapext.guest import notice
from snapext.guest.primitives import monotonic
from snapext.hooks import registry
from snapext.link.view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

ASK_TIMEOUT_S = 1.0


class Question:
    """Asked by any thread of the app, and answered in View.generation."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._until: float | None = None

    def ask(self, no_thread: Callable[[], bool]) -> None:
        """Wait for the answer a moment in all, however many threads ask; not at all where no extension listens.

        no_thread: whether the link's thread, which connects and is told, does not run.
        Nor in a signal's handler that has interrupted the holder of the view's lock, which the link's thread needs.
        """
        view = self._view
        if view.was_tried or view.generation or view.lock.is_mine():
            return
        is_first, now = self._until is None, monotonic()
        self._until = until = self._until or now + ASK_TIMEOUT_S
        if os.environ.get("SNAPEXT_TRANSPORT") != "signal":
            view.wait_tried(no_thread, until - now)
        elif is_first:
            self._ask_without_a_thread()

    def _ask_without_a_thread(self) -> None:
        """A process with hooks is told by the signals. Without hooks it owes nothing, and is where the others are."""
        if any(registry.counts()):
            return
        from snapext.wire import ask

        try:
            status = ask.ask("status", timeout_s=ASK_TIMEOUT_S)["status"]
            self._view.learned(int(status["generation"]), status["environment_id"])
        except (ControlError, KeyError, TypeError, ValueError) as error:
            notice.debug(f"cannot ask whether this environment has been restored: {error!r}")
