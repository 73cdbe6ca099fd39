"""What this process knows of the boundary: written by the thread that speaks with the extension, read by the app's.

An app waits for its import, so it imports little: phases have the names of `snapext.wire.phases`.
"""

from __future__ import annotations

import os
import time

from snapext.guest.own import ENV_INITIALIZATION_TYPE
from snapext.guest.primitives import Changes, Lock
from snapext.link.status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snapext.wire.messages import AfterRestore, BeforeSnapshot, Welcome

CLOCK_WAS_SET_S = 1.0
"""Below it the clocks have drifted apart, and the moment stays what it was."""


class View:
    """The view of one process. `lock` is for it and for the connection; `fork` takes it."""

    def __init__(
        self,
        generation: int = 0,
        environment_id: str | None = None,
        restored_at: float | None = None,
        restored_monotonic: float | None = None,
        passed: int | None = None,
    ) -> None:
        self.lock = Lock()
        self.phase = "init"
        self.commands: tuple[str, ...] = ()
        """What the extension takes from a command, as far as it says so."""
        self.generation = generation
        self._environment_id = environment_id
        self._restored_at = restored_at
        self._restored_monotonic = restored_monotonic
        self.passed = passed
        """How many requests a middleware has let pass since the before-snapshot hooks; None if there is none."""
        self.heard: tuple[bytes, bytes, bytes] | None = None
        """The environment id and the two times of a restore as JSON has them, until somebody asks."""
        self.was_tried = False
        """A first attempt to connect has ended, well or badly."""
        self.answering = False
        self.changes = Changes()

    def child(self) -> View:
        """What a forked child begins with. Called in the child, whose copy this is."""
        self.lock = Lock()  # of the parent's threads none is left to release it
        passed = None if self.passed is None else 0
        return View(self.generation, self.environment_id, self._restored_at, self._restored_monotonic, passed)

    # --- what happens ----------------------------------------------------------------------------------------------

    def has_tried(self) -> None:
        self.was_tried = True
        self.changes.happened()

    def has_news(self) -> None:
        """Have all that wait look again: what a thread of the app waits for will not come from ours any more, say."""
        self.changes.happened()

    def welcomed(self, message: Welcome) -> None:
        with self.lock:
            self.phase, self.generation = message.phase, max(self.generation, message.generation)
            self.commands = message.commands or ()
            known = self.environment_id
            self._environment_id = message.environment_id or known
        self.has_tried()

    def learned(self, generation: int, environment_id: str | None) -> None:
        """The extension's answer to a question, which does not change the phase."""
        with self.lock:
            self.generation = max(self.generation, generation)
            known = self.environment_id
            self._environment_id = environment_id or known

    def phase_begins(self, order: BeforeSnapshot | AfterRestore) -> None:
        self.phase = order.type
        if order.type == "after_restore":
            restored: Any = order  # its class need not be imported for this
            self.restores(restored.environment_id, restored.restored_at, restored.restored_monotonic)

    def restores(self, environment_id: str, restored_at: float, restored_monotonic: float | None) -> None:
        """What the after-restore hooks may ask for already."""
        with self.lock:
            self.heard = None
            self._environment_id = environment_id or None  # without an extension there is none
            self._restored_at, self._restored_monotonic = restored_at, restored_monotonic

    def phase_ends(self, phase: str, generation: int, *, ok: bool, answer: Callable[[], None]) -> None:
        """Take over what has come of a phase, then have `answer` say so."""
        self.answering = True
        try:
            if phase == "before_snapshot":
                self.phase = "snapshot"
            elif ok:
                with self.lock:  # before the answer: the next request to be served may ask is_restored()
                    self.phase, self.generation = "ready", max(self.generation, generation)
            answer()
        finally:
            self.answering = False
            self.changes.happened()

    def ends(self) -> None:
        """The extension shuts down."""
        self.phase = "shutdown"

    # --- what the app's threads ask --------------------------------------------------------------------------------

    def restored(self) -> tuple[str, float, float | None]:
        """What the message of the restore said."""
        with self.lock:
            return self.environment_id or "", self._restored_at or 0.0, self._restored_monotonic

    @property
    def environment_id(self) -> str | None:
        with self.lock:
            if self.heard is not None:
                environment_id, restored_at, restored_monotonic = self.heard
                self.restores(environment_id.decode(), float(restored_at), float(restored_monotonic))
            return self._environment_id

    def is_over(self) -> bool:
        return self.phase == "shutdown"

    def status(self, *, connected: bool) -> Status:
        with self.lock:
            return Status(
                phase=self.phase,
                generation=self.generation,
                environment_id=self.environment_id,  # it also reads the times
                restored_at=self._when_restored(),
                initialization_type=os.environ.get(ENV_INITIALIZATION_TYPE),
                connected=connected,
            )

    def _when_restored(self) -> float | None:
        """By the clock as it is set now: the platform sets it after the restore, and we are told before."""
        if self._restored_monotonic is not None and self._restored_at is not None:
            by_monotonic = time.time() - (time.monotonic() - self._restored_monotonic)
            if abs(by_monotonic - self._restored_at) > CLOCK_WAS_SET_S:
                self._restored_at = by_monotonic
        return self._restored_at

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for what may be true after any change of this view: a phase, a connection that was made or has ended."""
        return self.changes.wait_for(predicate, timeout_s)

    def wait_restored(self, timeout: float | None) -> bool:
        # Not before the answer is out: a process that waits for this may end at once.
        return self.changes.wait_for(lambda: self.generation > 0 and not self.answering, timeout)

    def wait_tried(self, or_else: Callable[[], bool], timeout_s: float) -> None:
        """Wait for the first attempt to connect to end, or for `or_else`, which `has_news` has looked at again."""
        self.changes.wait_for(lambda: self.was_tried or or_else(), timeout_s)
