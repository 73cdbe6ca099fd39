"""Datadog: the traces that its tracer has queued."""

from __future__ import annotations

import os
import sys

from snapext.integrations.flushing import LATE, is_done_in_time
from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

MICROVM_ENV = "AWS_LAMBDA_MICROVM_IMAGE_ARN"
"""Where it is set when ddtrace is imported, ddtrace asks the kernel for each id (its release note of 4.13)."""
ASKS_THE_KERNEL_FROM = (4, 13)


def install(obj: Any = None) -> None:
    """Take care of the tracer: before the snapshot `flush()` sends what is queued, for 5 seconds at most.

    Its connection to the agent and its runtime id, which all clones share, are reached by nothing that it documents.
    Nor is the generator of its ids, which repeat: a line on standard error says how to have others. Never raises; twice
    is once.
    """
    _DDTRACE.install(obj)


class _Ddtrace(Integration):
    def objects(self) -> Iterable[Any]:
        from ddtrace.trace import tracer

        return [tracer]

    def before_snapshot(self, thing: Any) -> None:
        if not is_done_in_time(thing.flush):
            self.warn("late", LATE)
        if not (os.environ.get(MICROVM_ENV) and _version() >= ASKS_THE_KERNEL_FROM):
            self.warn(
                "ids",
                "the ids of its traces and spans repeat in every clone, in each thread that has made one: they come "
                f"from a generator that nothing public renews. Set {MICROVM_ENV} (any value) before ddtrace is "
                "imported: from 4.13 on it then asks the kernel for each id. Else tell clones apart by a tag, "
                "snapext.status().environment_id",
            )


def _version() -> tuple[int, ...]:
    """The first two numbers of its version; () if it has none."""
    text = str(getattr(sys.modules.get("ddtrace"), "__version__", ""))
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


_DDTRACE = _Ddtrace(__name__)
