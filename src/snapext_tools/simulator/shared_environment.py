"""One environment shared by threads: the server's, which make calls, and the driver's, which act and wait.

One lock guards the environment. A waiting driver checks, then sleeps until something changes. A call that is held open
sleeps until it has an answer: an extension that waits for its next event costs an invocation nothing here either. A
watcher thread applies the restore deadline and delivers events to `on_event`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from snapext_tools.simulator.environment import Environment
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.outcomes import Failure, PlatformEvent
from snapext_tools.simulator.replies import Answer, Blocked, Reply

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_SETTLE_TIMEOUT_S: Final = 1.0
_STOP_TIMEOUT_S: Final = 2.0


class PlatformFailure(SimulationError):  # noqa: N818 -- what failed is the environment, and that is a result
    """The environment failed, or did not get there in time (error type Sandbox.Timeout)."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.error_type}: {failure.message}")


class SharedEnvironment:
    """The environment behind its lock, with a real clock."""

    def __init__(self, environment: Environment, on_event: Callable[[PlatformEvent], None] | None) -> None:
        self._origin_s = time.monotonic()
        self._environment = environment
        self._on_event = on_event
        self._delivered = 0
        self._is_closed = False
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._held: dict[Blocked, threading.Condition] = {}  # on the same lock
        self._watcher = threading.Thread(target=self._watch, name="platform-watcher", daemon=True)

    def start(self) -> None:
        """Start the watcher."""
        self._watcher.start()

    def close(self) -> None:
        """Release every held call and every waiting driver."""
        with self._changed:
            self._is_closed = True
            self._wake()

    def join(self) -> None:
        """Wait until the watcher has ended."""
        if threading.current_thread() is not self._watcher:
            self._watcher.join(_STOP_TIMEOUT_S)

    def now_ms(self) -> float:
        """The environment's clock: ms since this object was made."""
        return (time.monotonic() - self._origin_s) * 1000

    def look(self, at: Callable[[Environment], _T]) -> _T:
        """Read something of the environment as it is now."""
        with self._changed:
            self._environment.tick(self.now_ms())
            return at(self._environment)

    def step(self, call: Callable[[Environment, float], _T]) -> _T:
        """Do one thing with the environment, and wake every waiting thread."""
        with self._changed:
            try:
                return call(self._environment, self.now_ms())
            finally:
                self._wake()

    def answer(self, call: Callable[[Environment, float], Answer]) -> Reply | None:
        """Make a call and wait while it is held open; None when the platform stops first."""
        with self._changed:
            answer = self.step(call)
            if not isinstance(answer, Blocked):
                return answer
            answered = self._held[answer] = threading.Condition(self._lock)
            try:
                while (reply := self._environment.reply_to(answer)) is None and not self._is_closed:
                    answered.wait()
                return reply
            finally:
                del self._held[answer]

    def act(self, call: Callable[[Environment, float], None]) -> None:
        """Take a step as the driver, which continues once `on_event` has the events."""
        self.step(call)
        self._settle()

    def wait(self, phase: str, what: str, missing: Callable[[Environment], list[str]], timeout_s: float) -> None:
        """Wait until nothing is missing. Raises PlatformFailure when the environment fails or the time is up."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            while words := self.look(missing):
                left_s = until_s - time.monotonic()
                if self._environment.failure is not None:
                    break
                if self._is_closed:
                    raise SimulationError(f"the platform stopped, and {what}")
                if left_s <= 0:
                    break
                self._changed.wait(min(left_s, self._until_deadline_s() or left_s))
            failure = self._environment.failure
        self._settle()
        if failure is None and words:
            message = f"{what} after {timeout_s:g} s: {'; '.join(words)}"
            failure = Failure(phase, "Sandbox.Timeout", message, {})
        if failure is not None:
            raise PlatformFailure(failure)

    def _wake(self) -> None:
        """Something changed: wake the drivers, the watcher, and the calls that have their answer."""
        self._changed.notify_all()
        for call, answered in self._held.items():
            if self._is_closed or self._environment.reply_to(call) is not None:
                answered.notify()

    def _until_deadline_s(self) -> float | None:
        deadline_ms = self._environment.deadline_ms
        return None if deadline_ms is None else max(0.001, (deadline_ms - self.now_ms()) / 1000)

    def _settle(self) -> None:
        """Deliver the events so far before the driver continues; wait only so long, as on_event is not our code."""
        if self._on_event is None or threading.current_thread() is self._watcher:
            return
        with self._changed:
            count = len(self._environment.records)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._delivered >= count, _SETTLE_TIMEOUT_S)

    def _watch(self) -> None:
        while True:
            with self._changed:
                events = self.look(lambda environment: environment.records[self._delivered :])
                if not events:
                    if self._is_closed:
                        return
                    self._changed.wait(self._until_deadline_s())
                    continue
                # The tick may have failed the environment: waiting threads must check again.
                self._wake()
            for event in events:
                self._tell(event)
            with self._changed:
                self._delivered += len(events)
                self._changed.notify_all()

    def _tell(self, event: PlatformEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            _log.exception("on_event failed for %s", event.name)
