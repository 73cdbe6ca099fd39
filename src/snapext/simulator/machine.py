"""The state of one environment and the steps that each of its parties can bring about.

The runtime, the extensions and the invocation are one machine: each of their calls can end the phase of another. So
the calls, in `runtime_calls` and `extension_calls`, and the acts of the driver, in `environment`, are layers on this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from snapext.simulator.extension import Extension
from snapext.simulator.invocation import Invocation
from snapext.simulator.outcomes import Failure, InvocationResult, PlatformEvent
from snapext.simulator.replies import Blocked, Reply, json_reply
from snapext.simulator.states import ExtensionCall, ExtensionState, InitType, RuntimeCall, RuntimeState, runtime_after


class Machine:
    """What is known of one environment; whoever is asked something sets the clock with `tick()` first.

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
        self._extensions = {name: Extension(name, True, new_id()) for name in extension_names}
        self._held: deque[Blocked] = deque()  # calls of the runtime
        self._invocation: Invocation | None = None
        self._results: dict[str, InvocationResult] = {}
        self._is_shutting_down = False

    def tick(self, now_ms: float) -> None:
        """Set the clock, and apply the restore deadline when it has passed."""
        self._now_ms = now_ms
        if self.deadline_ms is not None and now_ms >= self.deadline_ms:
            self.deadline_ms, timeout_ms = None, self._restore_timeout_ms
            self._record("restore_timeout", timeout_ms=timeout_ms)
            message = f"the runtime has not asked for invocation/next within {timeout_ms} ms of the restore"
            self._fail("restore", "Runtime.RestoreHookUserTimeout", message)

    def missing_for_registration(self) -> list[str]:
        """What the start of the runtime still waits for, in words; empty when it may start."""
        extensions = self._extensions.values()
        internal = ", ".join(extension.name for extension in extensions if not extension.external)
        hint = f" ({internal} registered, but no file in the extensions folder has that name)" if internal else ""
        waiting = (extension for extension in extensions if extension.state is ExtensionState.STARTED)
        return [f"extension {extension.name} has not registered{hint}" for extension in waiting]

    def missing_for_init(self) -> list[str]:
        """What the end of init still waits for, in words; empty once it has ended."""
        if self.init_ended:
            return []
        missing = self.missing_for_registration()
        if self.runtime not in (RuntimeState.RESTORE_READY, RuntimeState.READY):
            missing.insert(0, "the runtime has not asked for restore/next or invocation/next")
        return missing + self._without_event_next(self._extensions.values(), ExtensionState.REGISTERED)

    def missing_for_invocation(self, request_id: str) -> list[str]:
        """What the end of an invocation still waits for, in words; empty when it is over."""
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
        return missing + self._without_event_next(invocation.extensions, ExtensionState.RUNNING)

    def _without_event_next(self, extensions: Iterable[Extension], state: ExtensionState) -> list[str]:
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
        """Give the invocation to the runtime and to the extensions that take INVOKE, when the runtime is there."""
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

    def _send(self, event_type: str, event: Mapping[str, Any]) -> list[Extension]:
        """Send an event to every extension that subscribed to it and still lives, and return those."""
        subscribed = [e for e in self._extensions.values() if event_type in e.events and not e.is_over]
        for extension in subscribed:
            # Only INVOKE is numbered: seen in AWS's emulator.
            number = {"Lambda-Extension-Event-Identifier": self._new_id()} if event_type == "INVOKE" else {}
            extension.due = json_reply(200, event, number)
            extension.deliver()
        return subscribed

    def _fail(self, phase: str, error_type: str, message: str, body: Mapping[str, Any] | None = None) -> None:
        """Note the first failure; a message in the reported body says more than ours."""
        if self.failure is None and not self._is_shutting_down:
            reported = (body or {}).get("errorMessage")
            message = reported if isinstance(reported, str) and reported else message
            self.failure = Failure(phase, error_type, message, body or {})

    def _refuse(self, call: RuntimeCall | ExtensionCall, error_type: str, message: str, status: int = 403) -> Reply:
        self._record("refused", call=str(call), status=status, error_type=error_type, message=message)
        return json_reply(status, {"errorMessage": message, "errorType": error_type})

    def _record(self, event_name: str, /, **detail: Any) -> None:
        self.records.append(PlatformEvent(self._now_ms, event_name, detail))

    def _unix_ms(self, now_ms: float) -> int:
        return int(self._unix_origin_ms + now_ms)
