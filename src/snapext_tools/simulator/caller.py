"""The function's caller: sends a request or an event, and records what came back."""

from __future__ import annotations

from snapext_tools.simulator import apigw, failing
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.plan import Event, Request
from snapext_tools.simulator.platform import Platform
from snapext_tools.simulator.recorder import Recorder


class Caller:
    """Calls the function on a platform whose runtime is ready."""

    def __init__(self, platform: Platform, recorder: Recorder) -> None:
        self._platform = platform
        self._recorder = recorder

    def call(self, request: Request | Event, timeout_s: float) -> None:
        """One call, and its answer. Raises PlatformFailure if the environment fails, or has not answered in time."""
        result = self._platform.invoke(request.payload, timeout_s)
        if not result.ok:
            message = result.body.decode("utf-8", "replace")
            self._add_trouble(request, result.error_type or "Unknown", message)
            return
        if isinstance(request, Event):
            body = result.body.decode("utf-8", "replace")
            self._add(name=request.name, ok=True, duration_ms=round(result.duration_ms, 3), body=body)
            return
        try:
            response = apigw.parse_response(result.body)
        except SimulationError as error:
            self._add_trouble(request, "Runtime.BadAnswer", str(error))
            return
        body = response.body.decode("utf-8", "replace")
        duration_ms = round(result.duration_ms, 3)
        fields = {"method": request.method, "path": request.path, "status": response.status}
        self._add(**fields, ok=response.status < 500, duration_ms=duration_ms, body=body)
        if response.status >= 500:
            self._add_trouble(request, f"HTTP {response.status}", body[:500])

    def _add(self, **fields: object) -> None:
        self._recorder.add(self._platform.now_ms(), "invoke", **fields)

    def _add_trouble(self, request: Request | Event, kind: str, message: str) -> None:
        self._recorder.trouble(failing.of_call(request, kind, message, self._platform.now_ms()))
