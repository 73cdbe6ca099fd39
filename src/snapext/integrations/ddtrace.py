"""Datadog: the traces that its tracer has queued."""

from __future__ import annotations

from snapext.integrations.flushing import LATE, is_done_in_time
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def install(obj: Any = None) -> None:
    """Take care of the tracer: before the snapshot `flush()` sends what is queued, for 5 seconds at most.

    Its connection to the agent and its runtime id, which all clones share, are reached by nothing that it documents.
    Never raises; twice is once.
    """
    _DDTRACE.install(obj)


class _Ddtrace(Integration):
    def objects(self) -> Iterable[Any]:
        from ddtrace.trace import tracer

        return [tracer]

    def before_snapshot(self, thing: Any) -> None:
        if not is_done_in_time(thing.flush):
            self.warn("late", LATE)


_DDTRACE = _Ddtrace(__name__)
