"""The Runtime API of an environment: restore/next and its errors, invocation/next, and the answers to invocations."""

from __future__ import annotations

import re
from typing import Final

from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.machine import Machine
from snapext_tools.simulator.outcomes import Failure
from snapext_tools.simulator.replies import (
    ACCEPTED,
    DROPPED,
    NO_HEADERS,
    NOT_FOUND,
    Answer,
    Blocked,
    Headers,
    Reply,
    message_in,
    object_in,
)
from snapext_tools.simulator.states import RUNTIME_ASKS_FOR, InitType, RuntimeCall, RuntimeState, runtime_after

_ERROR_TYPE: Final = re.compile(r"(Runtime|Function)\.[A-Z][A-Za-z]+")  # anywhere in the header, as at AWS
_ERROR_TYPE_HEADER: Final = "lambda-runtime-function-error-type"
_MODE_HEADER: Final = "lambda-runtime-function-response-mode"


class RuntimeCalls(Machine):
    """The calls of the runtime. A refused call gets a Reply."""

    def restore_next(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:  # noqa: ARG002
        """GET /runtime/restore/next: held open until the environment has been restored. SnapStart only."""
        self.tick(now_ms)
        if refusal := self._move_runtime(RuntimeCall.RESTORE_NEXT):
            return refusal
        self.wants_restore = True
        held = Blocked()
        self._held.append(held)
        self._check_init_end()
        return held

    def restore_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /runtime/restore/error: the restore has failed. SnapStart only."""
        self.tick(now_ms)
        return self._runtime_error(RuntimeCall.RESTORE_ERROR, headers, body)

    def init_error(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:
        """POST /runtime/init/error: init has failed, or the restore if the runtime is restoring."""
        self.tick(now_ms)
        return self._runtime_error(RuntimeCall.INIT_ERROR, headers, body)

    def _runtime_error(self, call: RuntimeCall, headers: Headers, body: bytes) -> Reply:
        if refusal := self._move_runtime(call):
            return refusal
        error_type = _error_type_in(headers)
        message = f"the runtime reported {error_type} to {call}"
        if self.runtime is RuntimeState.RESTORE_ERROR:
            # The platform ignores the body (restoreerror.go): no user of the function ever sees it.
            self.deadline_ms, self._restore_error_ms = None, self._now_ms
            self._record("restore_error", error_type=error_type)
            self._fail(self.stored or Failure("restore", error_type, message, {}))
            return ACCEPTED
        report = object_in(body) or {}
        self._record("init_error", error_type=error_type, body=report)
        self._init_report = Failure("init", error_type, message_in(report) or message, report)
        return ACCEPTED

    def invocation_next(self, now_ms: float, headers: Headers = NO_HEADERS, body: bytes = b"") -> Answer:  # noqa: ARG002
        """GET /runtime/invocation/next: held open until there is an invocation."""
        self.tick(now_ms)
        before = self.runtime
        if refusal := self._move_runtime(RuntimeCall.INVOCATION_NEXT):
            return refusal
        if before is RuntimeState.RUNNING:
            assert self._invocation is not None  # noqa: S101 -- the table has no way to RUNNING without one
            return self._invocation.event
        held = Blocked()
        self._held.append(held)
        if before is RuntimeState.RESTORING:
            self.deadline_ms = None
            if self.stored is not None:  # checked at the end of every restore, even a good one (rapid/handlers.go)
                self._fail(self.stored)
            self._runtime_is_ready()
        self._check_init_end()
        self._check_invocation_end()
        self._hand_out()
        return held.reply or held

    def begin_response(self, now_ms: float, request_id: str, headers: Headers) -> Reply | None:
        """POST /runtime/invocation/ID/response, its headers: the refusal, or None when the body may follow."""
        self.tick(now_ms)
        call, mode = RuntimeCall.INVOCATION_RESPONSE, headers.get(_MODE_HEADER, "")
        refusal = self._begin_answer(call, request_id, headers)
        if refusal is None and mode not in ("", "streaming"):
            self._end_answer(b"", "Runtime.InvalidResponseModeHeader")
            message = f"the response mode is {mode}; only streaming is accepted"
            return self._refuse(call, "InvalidFunctionResponseMode", message, status=400)
        return refusal

    def first_byte(self, now_ms: float) -> None:
        """The first byte of the response's body has arrived."""
        self.tick(now_ms)
        invocation = self._invocation
        if invocation is None or invocation.first_byte_ms is not None:
            return
        invocation.first_byte_ms = now_ms
        if _MODE_HEADER in invocation.headers:
            self._record("first_byte", request_id=invocation.request_id)

    def end_response(
        self, now_ms: float, body: bytes, trailers: Headers = NO_HEADERS, *, is_complete: bool = True
    ) -> Reply:
        """The response's body ended; not `is_complete`: it broke off. Trailers may carry a late error."""
        self.tick(now_ms)
        if is_complete:
            self._end_answer(body, _error_type_in(trailers) if _ERROR_TYPE_HEADER in trailers else None)
            return ACCEPTED
        self._end_answer(body, "Runtime.TruncatedResponse")
        call, message = RuntimeCall.INVOCATION_RESPONSE, "the request broke off before its end"
        return self._refuse(call, "TruncatedHTTPRequest", message, status=400)

    def invocation_error(self, now_ms: float, request_id: str, headers: Headers, body: bytes) -> Reply:
        """POST /runtime/invocation/ID/error: the invocation has failed, the environment has not."""
        self.tick(now_ms)
        if refusal := self._begin_answer(RuntimeCall.INVOCATION_ERROR, request_id, headers):
            return refusal
        self._end_answer(body, _error_type_in(headers))
        return ACCEPTED

    def _begin_answer(self, call: RuntimeCall, request_id: str, headers: Headers) -> Reply | None:
        invocation = self._invocation
        if invocation is None or invocation.request_id != request_id:
            message = f"{request_id} is not the current invocation"
            return self._refuse(call, "InvalidRequestID", message, status=400)
        if refusal := self._move_runtime(call):
            return refusal
        invocation.headers = dict(headers)
        return None

    def _end_answer(self, body: bytes, error_type: str | None) -> None:
        invocation, after = self._invocation, runtime_after(self.runtime, RuntimeCall.RESPONSE_SENT)
        if invocation is None or after is None:  # a bug of ours: only a response that began may end
            raise SimulationError(f"a response ended while the runtime was {self.runtime}")
        self.runtime = after
        invocation.body, invocation.error_type, invocation.answered_ms = body, error_type, self._now_ms

    def _move_runtime(self, call: RuntimeCall) -> Reply | None:
        """Make the transition, or return the refusal."""
        if call in (RuntimeCall.RESTORE_NEXT, RuntimeCall.RESTORE_ERROR) and not self.has_restore:
            message = f"{call} exists only for {InitType.SNAP_START}"
            self._record("refused", call=str(call), status=404, error_type="", message=message)
            return NOT_FOUND
        if missing := self.missing_for_registration():  # there is no runtime yet, and AWS's handler drops the call
            self._record("dropped", call=str(call), message=f"the runtime has not started: {'; '.join(missing)}")
            return DROPPED
        asked, after = RUNTIME_ASKS_FOR[call], runtime_after(self.runtime, call)
        if after is None:
            message = f"the runtime is in state {self.runtime}, from which it cannot go to {asked}"
            return self._refuse(call, "InvalidStateTransition", message)
        self.runtime = after
        return None


def _error_type_in(headers: Headers) -> str:
    error_type = headers.get(_ERROR_TYPE_HEADER, "")
    if _ERROR_TYPE.search(error_type):
        return error_type
    return "Function.Unknown" if error_type.startswith("Function.") else "Runtime.Unknown"
