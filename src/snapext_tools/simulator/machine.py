"""The state of one environment and the steps that each of its parties can take.

The runtime, the extensions and the invocation are one machine: each of their calls can end the phase of another. So
the calls, in `runtime_calls` and `extension_calls`, and the acts of the driver, in `environment`, are layers on this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from snapext_tools.simulator.extension import PlatformExtension
from snapext_tools.simulator.invocation import Invocation
from snapext_tools.simulator.outcomes import Failure, InvocationResult, PlatformEvent
from snapext_tools.simulator.replies import Blocked, Reply, json_reply
from snapext_tools.simulator.states import (
    ExtensionCall,
    ExtensionState,
    FatalError,
    InitType,
    RuntimeCall,
    RuntimeState,
    runtime_after,
)

HASTE_MS: Final = 300
_PLAIN_TEXT: Final = "text/plain; charset=utf-8"


class Machine:
    """The state of one environment; each method that answers a call sets the clock with `tick()` first.

    `new_id` makes UUID strings; `unix_origin_ms` is the Unix time in ms at which `now_ms` is 0.
    """

    def __init__(
        self,
        *,
        init_type: InitType,
        extension_names: Sequence[str],
        new_id: Callable[[], str],
        unix_origin_ms: float,
        restore_timeout_ms: int = 10_000,
        function_name: str = "local",
    ) -> None:
        self.init_type = init_type
        self.records: list[PlatformEvent] = []
        self.failure: Failure | None = None
        self.stored: Failure | None = None  # the first fatal error
        self.runtime = RuntimeState.STARTED
        self.wants_restore = False
        self.init_ended = False
        self.deadline_ms: float | None = None  # of the restore, while it runs
        self.restored_ms: float | None = None
        self.ready_ms: float | None = None
        self._now_ms = 0.0
        self._new_id = new_id
        self._unix_origin_ms = unix_origin_ms
        self._restore_timeout_ms = restore_timeout_ms
        self._function_name = function_name
        # SnapStart exists for published versions only.
        self._version = "1" if init_type is InitType.SNAP_START else "$LATEST"
        self._extensions = {name: PlatformExtension(name, True, new_id()) for name in extension_names}
        self._held: deque[Blocked] = deque()  # calls of the runtime
        self._invocation: Invocation | None = None
        self._results: dict[str, InvocationResult] = {}
        self._is_shutting_down = False
        self._init_report: Failure | None = None  # init/error: the answer that an invocation would get
        self._restore_error_ms: float | None = None

    @property
    def has_restore(self) -> bool:
        """Whether restore/next and restore/error exist: elsewhere they have no route."""
        return self.init_type is InitType.SNAP_START

    def tick(self, now_ms: float) -> None:
        """Set the clock, and apply the restore deadline if it has passed."""
        self._now_ms = now_ms
        if self.deadline_ms is not None and now_ms >= self.deadline_ms:
            self.deadline_ms, timeout_ms = None, self._restore_timeout_ms
            self._record("restore_timeout", timeout_ms=timeout_ms)
            message = f"the runtime has not asked for invocation/next within {timeout_ms} ms of the restore"
            self._fail(self.stored or Failure("restore", "Runtime.RestoreHookUserTimeout", message, {}))

    def missing_for_registration(self) -> list[str]:
        """What keeps the runtime from starting, in words; empty when it may start."""
        extensions = self._extensions.values()
        internal = ", ".join(extension.name for extension in extensions if not extension.external)
        hint = f" ({internal} registered, but no file in the extensions folder has that name)" if internal else ""
        waiting = (extension for extension in extensions if extension.state is ExtensionState.STARTED)
        return [f"extension {extension.name} has not registered{hint}" for extension in waiting]

    def missing_for_init(self) -> list[str]:
        """What keeps init from finishing, in words; empty once it has finished."""
        if self.init_ended:
            return []
        missing = self.missing_for_registration()
        if (report := self._init_report) is not None:
            missing.insert(0, f"the runtime reported {report.error_type} to init/error, and no process has exited yet")
        elif self.runtime not in (RuntimeState.RESTORE_READY, RuntimeState.READY):
            missing.insert(0, "the runtime has not asked for restore/next or invocation/next")
        missing += _without_exit(e for e in self._extensions.values() if not e.has_asked)
        return missing + self._without_event_next(self._extensions.values(), ExtensionState.REGISTERED)

    def missing_for_invocation(self, request_id: str) -> list[str]:
        """What keeps an invocation from finishing, in words; empty when it is over."""
        invocation = self._invocation
        if invocation is None or invocation.request_id != request_id:
            return []
        if not invocation.is_handed_out:
            return ["the runtime has not asked for invocation/next"]
        words = {
            RuntimeState.RUNNING: "the runtime has not answered",
            RuntimeState.INVOCATION_RESPONSE: "the runtime has not finished its response",
            RuntimeState.RESPONSE_SENT: "the runtime has not asked for invocation/next again",
        }
        missing = [words[self.runtime]] if self.runtime in words else []
        missing += _without_exit(invocation.extensions)
        return missing + self._without_event_next(invocation.extensions, ExtensionState.RUNNING)

    def _without_event_next(self, extensions: Iterable[PlatformExtension], state: ExtensionState) -> list[str]:
        return [f"extension {e.name} has not asked for event/next" for e in extensions if e.state is state]

    def _check_init_end(self) -> None:
        if self.init_ended or self.failure is not None or self.missing_for_init():
            return
        self.init_ended = True
        self._record("init_end", wants_restore=self.wants_restore)
        if self.init_type is InitType.ON_DEMAND:
            self._runtime_is_ready()

    def _runtime_is_ready(self) -> None:
        if self.failure is not None:
            return
        self.ready_ms = self._now_ms
        since = {} if self.restored_ms is None else {"after_restore_ms": self._now_ms - self.restored_ms}
        self._record("ready", **since)

    def _hand_out(self) -> None:
        """Give the invocation to the runtime and to the extensions that take INVOKE, if the runtime is waiting."""
        invocation, after = self._invocation, runtime_after(self.runtime, RuntimeCall.INVOKED)
        if invocation is None or invocation.is_handed_out or after is None:
            return
        self.runtime, invocation.is_handed_out = after, True
        self._record("invoke_start", request_id=invocation.request_id)
        invocation.extensions = self._send("INVOKE", invocation.extension_event)
        self._held.popleft().reply = invocation.event

    def _check_invocation_end(self) -> None:
        invocation = self._invocation
        if invocation is None or self.missing_for_invocation(invocation.request_id):
            return
        self._invocation = None
        result = self._results[invocation.request_id] = invocation.result(self._now_ms)
        self._record(
            "invoke_end",
            request_id=invocation.request_id,
            ok=result.ok,
            error_type=result.error_type,
            first_byte_ms=result.first_byte_ms,
            response_ms=invocation.answered_ms - invocation.asked_ms,
            duration_ms=result.duration_ms,
        )

    def _send(self, event_type: str, event: Mapping[str, Any]) -> list[PlatformExtension]:
        """Send an event to every extension that subscribed to it and is alive, and return these extensions."""
        subscribed = [e for e in self._extensions.values() if event_type in e.events and not e.is_over]
        for extension in subscribed:
            # Only INVOKE has an identifier and is declared as JSON: seen in AWS's emulator.
            is_invoke = event_type == "INVOKE"
            more = {"Lambda-Extension-Event-Identifier": self._new_id()} if is_invoke else {"Content-Type": _PLAIN_TEXT}
            extension.due = json_reply(200, event, more)
            extension.deliver()
        return subscribed

    def _phase(self) -> str:
        if self.ready_ms is not None:
            return "invoke"
        return "init" if self.restored_ms is None else "restore"

    def _store(self, error_type: FatalError, message: str, body: Mapping[str, Any] | None = None) -> None:
        """Keep the first fatal error. It does not end the phase: a process exit does, or the end of the restore."""
        if self.stored is None and not self._is_shutting_down:
            self.stored = Failure(self._phase(), str(error_type), message, body or {})

    def _fail(self, failure: Failure) -> None:
        """Keep the first failure."""
        if self.failure is None and not self._is_shutting_down:
            self.failure = failure

    def _fail_by_exit(self) -> None:
        """A process exit ends any phase, and the platform names the first fatal error.

        In init, the runtime's report to init/error is still the answer to the invocation.
        """
        stored, report, phase = self.stored, self._init_report, self._phase()
        if stored is None:  # it is shutting down
            return
        if report is not None and phase == "init":
            self._fail(replace(report, stored=stored.error_type))
        else:
            self._fail(replace(stored, phase=phase))

    def _record_haste(self, name: str, error_type: str) -> None:
        """Note an error so soon after restore/error that the real platform may report it instead.

        Measured with AWS's own code: it did so in 1 to 3 of 100 lives, and in none of 250 with 0.3 s in between.
        """
        since_ms = None if self._restore_error_ms is None else self._now_ms - self._restore_error_ms
        if since_ms is not None and since_ms < HASTE_MS:
            self._record("hasty_end", name=name, error_type=error_type, after_ms=since_ms)

    def _refuse(self, call: RuntimeCall | ExtensionCall, error_type: str, message: str, status: int = 403) -> Reply:
        self._record("refused", call=str(call), status=status, error_type=error_type, message=message)
        return json_reply(status, {"errorMessage": message, "errorType": error_type})

    def _record(self, event_name: str, /, **detail: Any) -> None:
        self.records.append(PlatformEvent(self._now_ms, event_name, detail))

    def _unix_ms(self, now_ms: float) -> int:
        return int(self._unix_origin_ms + now_ms)


def _without_exit(extensions: Iterable[PlatformExtension]) -> list[str]:
    """Those that have reported an error: their end, or that of another process, ends the phase."""
    over = (extension for extension in extensions if extension.is_over)
    return [f"extension {extension.name} reported an error, and no process has exited yet" for extension in over]
