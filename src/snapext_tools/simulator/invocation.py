"""One invocation: its events, and its answer so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from snapext_tools.simulator.extension import PlatformExtension
from snapext_tools.simulator.outcomes import InvocationResult
from snapext_tools.simulator.replies import Headers, Reply


@dataclass(slots=True)
class Invocation:
    """A running invocation; `event` is for the runtime, `extension_event` for the extensions that take INVOKE."""

    request_id: str
    asked_ms: float
    event: Reply
    extension_event: Mapping[str, Any]
    extensions: Sequence[PlatformExtension] = ()
    is_handed_out: bool = False
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    error_type: str | None = None
    first_byte_ms: float | None = None
    answered_ms: float = 0.0

    @classmethod
    def asked(cls, now_ms: float, request_id: str, trace_id: str, arn: str, payload: bytes, deadline_ms: int) -> Self:
        """Make the events of a new invocation; `trace_id` is a UUID, `deadline_ms` is Unix time."""
        ids = trace_id.replace("-", "")
        trace = f"Root=1-{deadline_ms // 1000:08x}-{ids[:24]};Parent={ids[8:24]};Sampled=0"
        headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": arn,
            "Lambda-Runtime-Trace-Id": trace,
        }
        extension_event = {
            "eventType": "INVOKE",
            "deadlineMs": deadline_ms,
            "requestId": request_id,
            "invokedFunctionArn": arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": trace},
        }
        return cls(request_id, now_ms, Reply(200, payload, headers), extension_event)

    def result(self, now_ms: float) -> InvocationResult:
        """The result of the invocation, which ends now; the first byte of an empty answer is its end."""
        first_byte_ms = self.answered_ms if self.first_byte_ms is None else self.first_byte_ms
        return InvocationResult(
            ok=self.error_type is None,
            body=self.body,
            headers=self.headers,
            duration_ms=now_ms - self.asked_ms,
            first_byte_ms=first_byte_ms - self.asked_ms,
            error_type=self.error_type,
        )
