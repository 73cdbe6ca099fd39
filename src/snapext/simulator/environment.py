"""One execution environment of Lambda as a pure state machine: calls and driver actions in, replies and records out.

No I/O, no threads, no clock: each method takes `now_ms`, milliseconds of one monotonic clock, and applies what has
become due before it does anything else. A call is answered with a `Reply`, or with `Blocked` when the platform would
hold it open: whoever asked then looks with `reply_to()` after each later change. Header names are in lower case.

This module is longer than most here because the runtime, the extensions and the invocation are one machine: each of
their calls can end the phase of another. The tables of their states are in `states`.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from snapext.errors import SimulationError
from snapext.simulator.states import (
    EXTENSION_ASKS_FOR,
    EXTENSION_TRANSITIONS,
    RUNTIME_ASKS_FOR,
    ExtensionCall,
    ExtensionState,
    InitType,
    RuntimeCall,
    RuntimeState,
    extension_after,
    runtime_after,
)

Headers = Mapping[str, str]

MAX_EXTENSIONS: Final = 10
NO_HEADERS: Final[Headers] = MappingProxyType({})
_JSON: Final[Headers] = MappingProxyType({"Content-Type": "application/json"})
_ERROR_TYPE: Final = re.compile(r"(Runtime|Function)\.[A-Z][A-Za-z]+")
_ERROR_TYPE_HEADER: Final = "lambda-runtime-function-error-type"
_MODE_HEADER: Final = "lambda-runtime-function-response-mode"
_ERROR_STATES: Final = (ExtensionState.INIT_ERROR, ExtensionState.EXIT_ERROR)


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """Something that happened: when (ms since the platform was made), its name and its particulars."""

    at_ms: float
    name: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the environment failed.

    `phase` is init, restore, invoke or extension; `message` is the errorMessage of the reported body, else one clear
    line; `body` is the parsed JSON body, empty when there was none.
    """

    phase: str
    error_type: str
    message: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """What became of one invocation. Times are ms since the invocation was asked for.

    `duration_ms` ends when the invocation is over for the platform: answered, the runtime back at invocation/next and
    every extension that takes INVOKE back at event/next. `headers` are those of the response, names in lower case.
    """

    ok: bool
    body: bytes
    headers: Headers
    duration_ms: float
    first_byte_ms: float
    error_type: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Blocked:
    """A call that is held open; `Environment.reply_to()` has the answer once there is one."""

    ticket: int


Answer = Reply | Blocked

NOT_FOUND: Final = Reply(404, b"not found\n", MappingProxyType({"Content-Type": "text/plain"}))
_ACCEPTED: Final = Reply(202, b'{"status":"OK"}\n', _JSON)


@dataclass(slots=True)
class _Extension:
    name: str
    external: bool
    identifier: str
    state: ExtensionState = ExtensionState.STARTED
    events: tuple[str, ...] = ()
    ticket: int | None = None
    due: Reply | None = None  # an event that it has not come to fetch yet

    @property
    def is_ready(self) -> bool:
        """True once the extension has asked for an event."""
        return self.state not in (ExtensionState.STARTED, ExtensionState.REGISTERED)


@dataclass(slots=True)
class _Invocation:
    request_id: str
    asked_ms: float
    event: Reply
    extension_event: Mapping[str, Any]
    handed_out: bool = False
    first_byte_ms: float | None = None
    headers: Headers = field(default_factory=dict)
    answer: tuple[bytes, str | None] | None = None  # body, error type
    answered_ms: float = 0.0
    extensions: list[_Extension] = field(default_factory=list)


class Environment:
    """The platform's side of one environment. Driver mistakes raise SimulationError, refused calls get a Reply.

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
        self._new_id = new_id
        self._unix_origin_ms = unix_origin_ms
        self._restore_timeout_ms = restore_timeout_ms
        self._function_name = function_name
        # SnapStart exists for published versions only.
        self._version = "1" if init_type is InitType.SNAP_START else "$LATEST"
        self._extensions = {name: _Extension(name, True, new_id()) for name in extension_names}
        self._tickets = 0
        self._replies: dict[int, Reply] = {}
        self._runtime_tickets: deque[int] = deque()
        self._invocation: _Invocation | None = None
        self._results: dict[str, InvocationResult] = {}
        self._is_shutting_down = False

    # --- what a driver does and sees ---------------------------------------------------------------------------------

    def tick(self, now_ms: float) -> None:
        """Apply the restore deadline when it has passed."""
        if self.deadline_ms is not None and now_ms >= self.deadline_ms:
            self.deadline_ms = None
            message = (
                f"the runtime has not asked for invocation/next within {self._restore_timeout_ms} ms of the restore"
            )
            self._record(now_ms, "restore_timeout", timeout_ms=self._restore_timeout_ms)
            self._fail(Failure("restore", "Runtime.RestoreHookUserTimeout", message, {}))

    def runtime_started(self, now_ms: float) -> None:
        """The driver has started the runtime, which the platform does once every external extension has registered."""
        self.tick(now_ms)
        if missing := self.missing_for_registration():
            raise SimulationError(f"the runtime may not start yet: {'; '.join(missing)}")
        self._record(now_ms, "runtime_started")

    def restore(self, now_ms: float) -> None:
        """Restore from the snapshot: release restore/next, if anyone asked for it, and start the deadline."""
        self.tick(now_ms)
        if self.init_type is not InitType.SNAP_START:
            raise SimulationError(f"there is nothing to restore: the initialization type is {self.init_type}")
        if not self.init_ended or self.restored_ms is not None:
            raise SimulationError(
                "restored already" if self.restored_ms is not None else "init has not ended: no snapshot exists"
            )
        self.restored_ms = now_ms
        self._record(now_ms, "restore", asked_for=self.wants_restore)
        after = runtime_after(self.runtime, RuntimeCall.RESTORED)
        if after is None:  # it asked for invocation/next instead: no restore phase, its next event is an invocation
            self._runtime_is_ready(now_ms)
            return
        self.runtime = after
        self.deadline_ms = now_ms + self._restore_timeout_ms
        self._replies[self._runtime_tickets.popleft()] = Reply(200)

    def invoke(self, now_ms: float, payload: bytes, timeout_ms: float) -> str:
        """Begin an invocation and return its request id; `timeout_ms` only makes the deadline that callers are told."""
        self.tick(now_ms)
        if self._is_shutting_down:
            raise SimulationError("the environment is shutting down")
        if not self.init_ended or (self.init_type is InitType.SNAP_START and self.restored_ms is None):
            raise SimulationError("the environment has not been restored" if self.init_ended else "init has not ended")
        if self._invocation is not None:
            raise SimulationError(f"invocation {self._invocation.request_id} is still under way")
        request_id, deadline = self._new_id(), self._unix_ms(now_ms + timeout_ms)
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:{self._function_name}"
        arn += f":{self._version}" if self.init_type is InitType.SNAP_START else ""
        ids = self._new_id().replace("-", "")
        trace = f"Root=1-{deadline // 1000:08x}-{ids[:24]};Parent={ids[8:24]};Sampled=0"
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline),
            "Lambda-Runtime-Invoked-Function-Arn": arn,
            "Lambda-Runtime-Trace-Id": trace,
        }
        extension_event = {
            "eventType": "INVOKE",
            "deadlineMs": deadline,
            "requestId": request_id,
            "invokedFunctionArn": arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
        }
        self._invocation = _Invocation(request_id, now_ms, Reply(200, payload, headers), extension_event)
        self._hand_out(now_ms)
        return request_id

    def shutdown(self, now_ms: float, reason: str, timeout_ms: float) -> None:
        """Send SHUTDOWN to the external extensions that subscribed to it. From now on nothing is a failure."""
        self.tick(now_ms)
        if self._is_shutting_down:
            return
        self._is_shutting_down, self.deadline_ms = True, None
        self._record(now_ms, "shutdown", reason=reason, timeout_ms=timeout_ms)
        event = {
            "eventType": "SHUTDOWN",
            "shutdownReason": reason,
            "deadlineMs": self._unix_ms(now_ms + timeout_ms),
        }
        self._send(event, self._subscribed("SHUTDOWN"))

    def process_exited(self, now_ms: float, role: str, name: str, returncode: int) -> None:
        """A process has ended: `role` is "runtime", or "extension" with the extension's file name."""
        self.tick(now_ms)
        detail = {"name": name, "returncode": returncode}
        if role == "runtime":
            self._record(now_ms, "runtime_exit", **detail)
            message = f"the runtime exited with status {returncode}"
            self._fail(Failure(self._phase(), "Runtime.ExitError", message, {}))
            return
        extension = self._extensions.get(name) if role == "extension" else None
        if extension is None or not extension.external:
            raise SimulationError(f"no such process: {role} {name}")
        before = extension.state
        extension.state = EXTENSION_TRANSITIONS[before, ExtensionCall.EXITED]
        if self._is_shutting_down or before in (*_ERROR_STATES, ExtensionState.EXITED):
            self._record(now_ms, "extension_exit", **detail)
            return
        self._record(now_ms, "extension_crash", **detail)
        message = f"extension {name} exited with status {returncode} in state {before}, without reporting an error"
        self._fail(Failure("extension", "Extension.Crash", message, {}))

    def reply_to(self, call: Blocked) -> Reply | None:
        """The answer to a call that was held open, once; None while it still is."""
        return self._replies.pop(call.ticket, None)

    def result(self, request_id: str) -> InvocationResult | None:
        """What became of an invocation, once it is over."""
        return self._results.get(request_id)

    def missing_for_registration(self) -> list[str]:
        """What the start of the runtime still waits for, in words; empty when it may start."""
        external = [extension for extension in self._extensions.values() if extension.external]
        internal = [extension.name for extension in self._extensions.values() if not extension.external]
        hint = f" ({', '.join(internal)} registered, but no file in the extensions folder has that name)"
        return [
            f"extension {extension.name} has not registered" + (hint if internal else "")
            for extension in external
            if extension.state is ExtensionState.STARTED
        ]

    def missing_for_init(self) -> list[str]:
        """What the end of init still waits for, in words; empty once it has ended."""
        if self.init_ended:
            return []
        missing = self.missing_for_registration()
        if self.runtime not in (RuntimeState.RESTORE_READY, RuntimeState.READY):
            missing.insert(0, "the runtime has not asked for restore/next or invocation/next")
        for extension in self._extensions.values():
            if extension.state is ExtensionState.REGISTERED:
                missing.append(f"extension {extension.name} has not asked for event/next")
        return missing

    def missing_for_ready(self) -> list[str]:
        """What readiness for invocations still waits for, in words; empty when the runtime is ready."""
        if self.ready_ms is not None:
            return []
        if not self.init_ended:
            return self.missing_for_init()
        if self.restored_ms is None:
            return ["nothing has been restored from the snapshot"]
        return ["the runtime has not asked for invocation/next since the restore"]

    def missing_for_invocation(self, request_id: str) -> list[str]:
        """What the end of an invocation still waits for, in words; empty when it is over."""
        invocation = self._invocation
        if invocation is None or invocation.request_id != request_id:
            return []
        words = {
            RuntimeState.RUNNING: "the runtime has not answered",
            RuntimeState.INVOCATION_RESPONSE: "the runtime has not finished its response",
            RuntimeState.RESPONSE_SENT: "the runtime has not asked for invocation/next again",
        }
        if not invocation.handed_out:
            return ["the runtime has not asked for invocation/next"]
        missing = [words[self.runtime]] if self.runtime in words else []
        busy = (extension for extension in invocation.extensions if extension.state is ExtensionState.RUNNING)
        return missing + [f"extension {extension.name} has not asked for event/next" for extension in busy]

    # --- the Extensions API ------------------------------------------------------------------------------------------

    def register(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /extension/register. A name that is no file in the extensions folder is an internal extension's."""
        self.tick(now_ms)
        call, name, events = ExtensionCall.REGISTER, headers.get("lambda-extension-name", ""), _events_in(body)
        if not name:
            message = "Lambda-Extension-Name is missing or empty"
            return self._refuse(now_ms, call, "Extension.InvalidExtensionName", message)
        if events is None:
            message = 'the body must be a JSON object such as {"events": ["SHUTDOWN"]}'
            return self._refuse(now_ms, call, "InvalidRequestFormat", message)
        extension = self._extensions.get(name) or _Extension(name, False, self._new_id())
        allowed = ("INVOKE", "SHUTDOWN") if extension.external else ("INVOKE",)
        for event in events:
            if event not in allowed:
                kind = "external" if extension.external else "internal"
                message = f"{event}: an {kind} extension may ask for {' or '.join(allowed)}"
                return self._refuse(now_ms, call, "Extension.InvalidEventType", message)
        if not extension.external and self.runtime is not RuntimeState.STARTED:
            message = "registration has ended: the runtime has initialised"
            return self._refuse(now_ms, call, "Extension.RegistrationClosed", message)
        if name not in self._extensions and len(self._extensions) >= MAX_EXTENSIONS:
            message = f"there are {MAX_EXTENSIONS} extensions already"
            return self._refuse(now_ms, call, "Extension.TooManyExtensions", message)
        if refusal := self._move_extension(now_ms, extension, call):
            return refusal
        self._extensions[name] = extension
        extension.events = events
        detail = {"name": name, "events": list(events), "internal": not extension.external}
        self._record(now_ms, "extension_registered", **detail)
        metadata = {
            "functionName": self._function_name,
            "functionVersion": self._version,
            "handler": "handler",
        }
        return _json_reply(200, metadata, {"Lambda-Extension-Identifier": extension.identifier})

    def event_next(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:  # noqa: ARG002
        """GET /extension/event/next: held open until there is an event for this extension."""
        self.tick(now_ms)
        extension = self._identified(now_ms, ExtensionCall.EVENT_NEXT, headers)
        if isinstance(extension, Reply):
            return extension
        was_ready = extension.is_ready
        if refusal := self._move_extension(now_ms, extension, ExtensionCall.EVENT_NEXT):
            return refusal
        if not was_ready:
            self._record(now_ms, "extension_ready", name=extension.name)
        ticket = extension.ticket = self._new_ticket()
        self._deliver(extension)
        self._check_init_end(now_ms)
        self._check_invocation_end(now_ms)
        return self._answer(ticket)

    def extension_init_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /extension/init/error."""
        return self._extension_error(now_ms, ExtensionCall.INIT_ERROR, "extension_init_error", headers, body)

    def extension_exit_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /extension/exit/error."""
        return self._extension_error(now_ms, ExtensionCall.EXIT_ERROR, "extension_exit_error", headers, body)

    def _extension_error(self, now_ms: float, call: ExtensionCall, name: str, headers: Headers, body: bytes) -> Reply:
        self.tick(now_ms)
        extension = self._identified(now_ms, call, headers)
        if isinstance(extension, Reply):
            return extension
        error_type = headers.get("lambda-extension-function-error-type", "")
        if not error_type:
            message = "Lambda-Extension-Function-Error-Type is missing or empty"
            return self._refuse(now_ms, call, "Extension.MissingHeader", message)
        reported_before = extension.state in _ERROR_STATES
        if refusal := self._move_extension(now_ms, extension, call):
            return refusal
        if not reported_before:
            parsed = _object_in(body)
            self._record(now_ms, name, name=extension.name, error_type=error_type, body=parsed)
            message = _message_in(parsed, f"extension {extension.name} reported {error_type} to {call}")
            self._fail(Failure("extension", error_type, message, parsed))
        return _ACCEPTED

    def _identified(self, now_ms: float, call: ExtensionCall, headers: Headers) -> _Extension | Reply:
        given = headers.get("lambda-extension-identifier", "")
        if not given:
            message = "Lambda-Extension-Identifier is missing"
            return self._refuse(now_ms, call, "Extension.MissingExtensionIdentifier", message)
        try:
            identifier = str(uuid.UUID(given))
        except ValueError:
            message = "Lambda-Extension-Identifier is not a UUID"
            return self._refuse(now_ms, call, "Extension.InvalidExtensionIdentifier", message)
        for extension in self._extensions.values():
            if extension.identifier == identifier:
                return extension
        message = f"no extension has the identifier {identifier}"
        return self._refuse(now_ms, call, "Extension.UnknownExtensionIdentifier", message)

    # --- the Runtime API ---------------------------------------------------------------------------------------------

    def restore_next(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:  # noqa: ARG002
        """GET /runtime/restore/next: held open until the environment has been restored. SnapStart only."""
        self.tick(now_ms)
        if self.init_type is not InitType.SNAP_START:
            return self._not_found(now_ms, RuntimeCall.RESTORE_NEXT)
        if refusal := self._move_runtime(now_ms, RuntimeCall.RESTORE_NEXT):
            return refusal
        self.wants_restore = True
        ticket = self._new_ticket()
        self._runtime_tickets.append(ticket)
        self._check_init_end(now_ms)
        return self._answer(ticket)

    def restore_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /runtime/restore/error: the restore has failed. SnapStart only."""
        self.tick(now_ms)
        if self.init_type is not InitType.SNAP_START:
            return self._not_found(now_ms, RuntimeCall.RESTORE_ERROR)
        return self._runtime_error(now_ms, RuntimeCall.RESTORE_ERROR, headers, body)

    def init_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /runtime/init/error: init has failed, or the restore when that is where the runtime is."""
        self.tick(now_ms)
        return self._runtime_error(now_ms, RuntimeCall.INIT_ERROR, headers, body)

    def _runtime_error(self, now_ms: float, call: RuntimeCall, headers: Headers, body: bytes) -> Reply:
        if refusal := self._move_runtime(now_ms, call):
            return refusal
        self.deadline_ms = None
        phase = "restore" if self.runtime is RuntimeState.RESTORE_ERROR else "init"
        error_type, parsed = _error_type_in(headers), _object_in(body)
        self._record(now_ms, f"{phase}_error", error_type=error_type, body=parsed)
        message = _message_in(parsed, f"the runtime reported {error_type} to {call}")
        self._fail(Failure(phase, error_type, message, parsed))
        return _ACCEPTED

    def invocation_next(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:  # noqa: ARG002
        """GET /runtime/invocation/next: held open until there is an invocation."""
        self.tick(now_ms)
        before = self.runtime
        if refusal := self._move_runtime(now_ms, RuntimeCall.INVOCATION_NEXT):
            return refusal
        if before is RuntimeState.RUNNING:
            assert self._invocation is not None  # noqa: S101 -- the table lets nobody run without one
            return self._invocation.event
        ticket = self._new_ticket()
        self._runtime_tickets.append(ticket)
        if before is RuntimeState.RESTORING:
            self.deadline_ms = None
            self._runtime_is_ready(now_ms)
        self._check_init_end(now_ms)
        self._check_invocation_end(now_ms)
        self._hand_out(now_ms)
        return self._answer(ticket)

    def begin_response(self, now_ms: float, request_id: str, headers: Headers) -> Reply | None:
        """POST /runtime/invocation/ID/response, its headers: the refusal, or None when the body may come."""
        self.tick(now_ms)
        refusal = self._begin_answer(now_ms, RuntimeCall.INVOCATION_RESPONSE, request_id, headers)
        mode = headers.get(_MODE_HEADER, "")
        if refusal is None and mode not in ("", "streaming"):
            self._answered(now_ms, b"", "Runtime.InvalidResponseModeHeader")
            message = f"the response mode is {mode}, and can only be streaming"
            call = RuntimeCall.INVOCATION_RESPONSE
            return self._refuse(now_ms, call, "InvalidFunctionResponseMode", message, status=400)
        return refusal

    def first_byte(self, now_ms: float) -> None:
        """The first byte of the response's body has come."""
        self.tick(now_ms)
        invocation = self._invocation
        if invocation is None or invocation.first_byte_ms is not None:
            return
        invocation.first_byte_ms = now_ms
        if _MODE_HEADER in invocation.headers:
            self._record(now_ms, "first_byte", request_id=invocation.request_id)

    def end_response(
        self, now_ms: float, body: bytes, trailers: Headers = NO_HEADERS, *, is_complete: bool = True
    ) -> Reply:
        """The response's body has ended, by breaking off when not `is_complete`; trailers may carry a late error."""
        self.tick(now_ms)
        if is_complete:
            late_error = _error_type_in(trailers) if _ERROR_TYPE_HEADER in trailers else None
            self._answered(now_ms, body, late_error)
            return _ACCEPTED
        self._answered(now_ms, body, "Runtime.TruncatedResponse")
        call, message = RuntimeCall.INVOCATION_RESPONSE, "the request broke off before its end"
        return self._refuse(now_ms, call, "TruncatedHTTPRequest", message, status=400)

    def invocation_error(self, now_ms: float, request_id: str, headers: Headers, body: bytes) -> Reply:
        """POST /runtime/invocation/ID/error: the invocation has failed, the environment has not."""
        self.tick(now_ms)
        if refusal := self._begin_answer(now_ms, RuntimeCall.INVOCATION_ERROR, request_id, headers):
            return refusal
        self._answered(now_ms, body, _error_type_in(headers))
        return _ACCEPTED

    def _begin_answer(self, now_ms: float, call: RuntimeCall, request_id: str, headers: Headers) -> Reply | None:
        invocation = self._invocation
        if invocation is None or invocation.request_id != request_id:
            message = f"{request_id} is not the invocation under way"
            return self._refuse(now_ms, call, "InvalidRequestID", message, status=400)
        if refusal := self._move_runtime(now_ms, call):
            return refusal
        invocation.headers = dict(headers)
        return None

    def _answered(self, now_ms: float, body: bytes, error_type: str | None) -> None:
        invocation, after = self._invocation, runtime_after(self.runtime, RuntimeCall.RESPONSE_SENT)
        if invocation is None or after is None:  # a bug of ours: only what began may end
            raise SimulationError(f"a response ended while the runtime was {self.runtime}")
        self.runtime = after
        invocation.answer, invocation.answered_ms = (body, error_type), now_ms
        if invocation.first_byte_ms is None:
            invocation.first_byte_ms = now_ms

    # --- one step of the machine -------------------------------------------------------------------------------------

    def _move_runtime(self, now_ms: float, call: RuntimeCall) -> Reply | None:
        """Make the transition, or return the refusal."""
        current, asked = self.runtime, RUNTIME_ASKS_FOR[call]
        if missing := self.missing_for_registration():
            message = f"the runtime has not been started, it cannot go to {asked}: {'; '.join(missing)}"
            return self._refuse(now_ms, call, "InvalidStateTransition", message)
        after = runtime_after(current, call)
        if after is None:
            message = f"the runtime is in state {current}, from which it cannot go to {asked}"
            return self._refuse(now_ms, call, "InvalidStateTransition", message)
        self.runtime = after
        return None

    def _move_extension(self, now_ms: float, extension: _Extension, call: ExtensionCall) -> Reply | None:
        """Make the transition, or return the refusal."""
        after = extension_after(extension.state, call)
        if after is None:
            asked = EXTENSION_ASKS_FOR[call]
            message = f"extension {extension.name} is in state {extension.state}, from which it cannot go to {asked}"
            return self._refuse(now_ms, call, "Extension.InvalidExtensionState", message)
        extension.state = after
        return None

    def _check_init_end(self, now_ms: float) -> None:
        if self.init_ended or self.failure is not None or self.missing_for_init():
            return
        self.init_ended = True
        self._record(now_ms, "init_end", wants_restore=self.wants_restore)
        if self.init_type is InitType.ON_DEMAND:
            self._runtime_is_ready(now_ms)

    def _runtime_is_ready(self, now_ms: float) -> None:
        if self.failure is not None:
            return
        self.ready_ms = now_ms
        since = {} if self.restored_ms is None else {"after_restore_ms": now_ms - self.restored_ms}
        self._record(now_ms, "ready", **since)

    def _hand_out(self, now_ms: float) -> None:
        """Give the invocation to the runtime and to the extensions that take INVOKE, when the runtime is there."""
        invocation, after = self._invocation, runtime_after(self.runtime, RuntimeCall.INVOKED)
        if invocation is None or invocation.handed_out or after is None:
            return
        self.runtime = after
        invocation.handed_out = True
        self._record(now_ms, "invoke_start", request_id=invocation.request_id)
        invocation.extensions = self._subscribed("INVOKE")
        self._send(invocation.extension_event, invocation.extensions)
        self._replies[self._runtime_tickets.popleft()] = invocation.event

    def _check_invocation_end(self, now_ms: float) -> None:
        invocation = self._invocation
        if invocation is None or invocation.answer is None or invocation.first_byte_ms is None:
            return
        if self.missing_for_invocation(invocation.request_id):
            return
        body, error_type = invocation.answer
        first_byte_ms = invocation.first_byte_ms - invocation.asked_ms
        duration_ms = now_ms - invocation.asked_ms
        self._results[invocation.request_id] = InvocationResult(
            error_type is None, body, invocation.headers, duration_ms, first_byte_ms, error_type
        )
        self._invocation = None
        self._record(
            now_ms,
            "invoke_end",
            request_id=invocation.request_id,
            ok=error_type is None,
            error_type=error_type,
            first_byte_ms=first_byte_ms,
            response_ms=invocation.answered_ms - invocation.asked_ms,
            duration_ms=duration_ms,
        )

    def _subscribed(self, event: str) -> list[_Extension]:
        gone = (*_ERROR_STATES, ExtensionState.EXITED)
        return [e for e in self._extensions.values() if event in e.events and e.state not in gone]

    def _send(self, event: Mapping[str, Any], extensions: Iterable[_Extension]) -> None:
        for extension in extensions:
            identifier = {"Lambda-Extension-Event-Identifier": self._new_id()}
            extension.due = _json_reply(200, event, identifier)
            self._deliver(extension)

    def _deliver(self, extension: _Extension) -> None:
        after = extension_after(extension.state, ExtensionCall.EVENT)
        if extension.due is None or extension.ticket is None or after is None:
            return
        extension.state = after
        self._replies[extension.ticket] = extension.due
        extension.ticket = extension.due = None

    def _phase(self) -> str:
        if self.ready_ms is not None:
            return "invoke"
        return "init" if self.restored_ms is None else "restore"

    def _fail(self, failure: Failure) -> None:
        if self.failure is None and not self._is_shutting_down:
            self.failure = failure

    def _new_ticket(self) -> int:
        self._tickets += 1
        return self._tickets

    def _answer(self, ticket: int) -> Answer:
        reply = self._replies.pop(ticket, None)
        return Blocked(ticket) if reply is None else reply

    def _not_found(self, now_ms: float, call: RuntimeCall) -> Reply:
        message = f"{call} exists only for {InitType.SNAP_START}"
        self._record(now_ms, "refused", call=str(call), status=404, error_type="", message=message)
        return NOT_FOUND

    def _refuse(
        self,
        now_ms: float,
        call: RuntimeCall | ExtensionCall,
        error_type: str,
        message: str,
        *,
        status: int = 403,
    ) -> Reply:
        detail = {"call": str(call), "status": status, "error_type": error_type, "message": message}
        self._record(now_ms, "refused", **detail)
        return _json_reply(status, {"errorMessage": message, "errorType": error_type})

    def _record(self, now_ms: float, event_name: str, /, **detail: Any) -> None:
        self.records.append(PlatformEvent(now_ms, event_name, detail))

    def _unix_ms(self, now_ms: float) -> int:
        return int(self._unix_origin_ms + now_ms)


def _json_reply(status: int, content: Mapping[str, Any], headers: Headers = NO_HEADERS) -> Reply:
    return Reply(status, json.dumps(content).encode() + b"\n", {**_JSON, **headers})


def _object_in(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; empty when there is none."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _events_in(body: bytes) -> tuple[str, ...] | None:
    """The events that a registration asks for; None when the body is not what it should be."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    events = parsed.get("events", []) if isinstance(parsed, dict) else None
    events = [] if events is None and isinstance(parsed, dict) else events
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        return None
    return tuple(dict.fromkeys(events))


def _message_in(body: Mapping[str, Any], default: str) -> str:
    message = body.get("errorMessage")
    return message if isinstance(message, str) and message else default


def _error_type_in(headers: Headers) -> str:
    error_type = headers.get(_ERROR_TYPE_HEADER, "")
    return error_type if _ERROR_TYPE.fullmatch(error_type) else "Runtime.Unknown"
