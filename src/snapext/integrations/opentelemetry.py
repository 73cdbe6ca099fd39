"""OpenTelemetry's SDK: what its processors have queued, and the connections of OTLP exporters over HTTP."""

from __future__ import annotations

import sys

from snapext.integrations.flushing import LATE, is_done_in_time
from snapext.integrations.frame import Integration
from snapext.integrations.reach import held_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INSTANCE = "service.instance.id"
LOGS = "opentelemetry.sdk._logs"
"""Where the SDK documents its LoggerProvider to be."""


def install(obj: Any = None) -> None:
    """Take care of one tracer, meter or logger provider, or of all that are alive before the snapshot.

    Before the snapshot `force_flush()` sends what is queued, for 5 seconds at most; each clone would send it. Then, and
    once more after the restore, the adapters of the exporters' `requests` sessions are closed. Threads of the SDK go on
    in a clone as they were. A resource cannot be changed: a `service.instance.id` in it, which all clones have, is one
    line. Never raises; twice is once.
    """
    _OPENTELEMETRY.install(obj)


class _OpenTelemetry(Integration):
    def classes(self) -> tuple[type, ...]:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider

        logs = getattr(sys.modules.get(LOGS), "LoggerProvider", None)
        return (TracerProvider, MeterProvider) if logs is None else (TracerProvider, MeterProvider, logs)

    def before_snapshot(self, thing: Any) -> None:
        if not is_done_in_time(thing.force_flush):
            self.warn("late", LATE)
        resource = getattr(thing, "resource", None)
        if resource is not None and INSTANCE in resource.attributes:
            self.warn(
                INSTANCE,
                f"the resource has {INSTANCE}={resource.attributes[INSTANCE]}, which all clones share, and a resource "
                "cannot be changed: leave it out, or set snapext.status().environment_id on each span, in the on_start "
                "of a SpanProcessor",
            )
        for session in _sessions(thing):
            _close(session)
            self.keep(session)

    def after_restore(self, thing: Any) -> None:
        if hasattr(thing, "adapters"):
            _close(thing)


def _sessions(provider: Any) -> list[Any]:
    session = getattr(sys.modules.get("requests"), "Session", None)
    return [] if session is None else held_by(provider, (session,), ("opentelemetry",))


def _close(session: Any) -> None:
    for adapter in list(session.adapters.values()):
        adapter.close()


_OPENTELEMETRY = _OpenTelemetry(__name__)
