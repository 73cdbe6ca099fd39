"""SNAPEXT_METRICS=emf: CloudWatch makes metrics of the lines that end a phase, and of a failure. docs/metrics.md.

The lines are those that are written anyway, with what the embedded metric format asks for. Source: CloudWatch's
"Specification: Embedded metric format"; on Lambda such a line on standard output is enough.
"""

from __future__ import annotations

import time

from snapext.clock.restore import JUMP_S
from snapext_extension.log import Log

NAMESPACE = "snapext"
DIMENSION_SETS = (("FunctionName",), ("FunctionName", "FunctionVersion"))
MILLISECONDS, COUNT = "Milliseconds", "Count"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Metric = tuple[str, str, Callable[[Mapping[str, Any]], float]]
    """Its name, its unit, and its value out of the fields of the line."""

_NO_FAILURE: tuple[Metric, ...] = (("Failures", COUNT, lambda _: 0), ("FailedHooks", COUNT, lambda _: 0))
METRICS: Mapping[str, tuple[Metric, ...]] = {
    "snapshot": (("BeforeSnapshotMs", MILLISECONDS, lambda line: line["duration_ms"]), *_NO_FAILURE),
    "ready": (
        ("RestoreMs", MILLISECONDS, lambda line: line["duration_ms"]),
        ("AfterRestoreMs", MILLISECONDS, lambda line: line["slowest_process_ms"]),
        ("SlowestHookMs", MILLISECONDS, lambda line: line["slowest_hook_ms"]),
        ("Processes", COUNT, lambda line: line["processes"]),
        ("Hooks", COUNT, lambda line: line["hooks"]),
        *_NO_FAILURE,
    ),
    "failed": (("Failures", COUNT, lambda _: 1), ("FailedHooks", COUNT, lambda line: int(line["hook"] is not None))),
}
"""By the event of the line. A success says that nothing failed, so that an alarm has data."""


class MetricsLog(Log):
    """A log whose lines with metrics are written whatever the level.

    Their time is in them, and right after a restore the wall clock may still be the snapshot's, which can be weeks old.
    Then the line is written at once without them, and they follow in a line of their own, `metrics`, when the clock has
    been set (`release`).
    """

    def __init__(self, environ: Mapping[str, str], level: str = "info", fd: int = 1) -> None:
        super().__init__(level, fd)
        self._dimensions = {
            "FunctionName": environ.get("AWS_LAMBDA_FUNCTION_NAME") or "unknown",
            "FunctionVersion": environ.get("AWS_LAMBDA_FUNCTION_VERSION") or "unknown",
        }
        self._offset_at_snapshot_s: float | None = None
        self._held: list[dict[str, Any]] = []

    def write(self, level: str, event: str, **fields: Any) -> None:
        metrics = METRICS.get(event)
        if metrics is None:
            super().write(level, event, **fields)
            return
        try:
            values = {name: value(fields) for name, _, value in metrics}
        except (KeyError, TypeError) as error:  # ours; no restore must fail because of it
            super().write(level, event, **fields)
            super().write("warning", "no_metrics", message=f"{event} has no metrics: {error!r}")
            return
        document = {**self._dimensions, **values, "_aws": _directive(metrics)}
        if self._is_clock_late():
            super().write(level, event, **fields)
            self._held.append(document)
            self.when_held()
        else:
            self._write(level, event, {**fields, **_now(document)})
        if event == "snapshot":
            self._offset_at_snapshot_s = _offset_s()

    def release(self) -> None:
        """The clock is right, or there is no time left to wait for it."""
        held, self._held = self._held, []
        for document in held:
            self._write("info", "metrics", _now(document))

    def close(self) -> None:
        self.release()
        super().close()

    def _is_clock_late(self) -> bool:
        """A snapshot stops CLOCK_MONOTONIC, and not the time: until the clock is set, the two go on as before."""
        before_s = self._offset_at_snapshot_s
        return before_s is not None and abs(_offset_s() - before_s) < JUMP_S


def _directive(metrics: tuple[Metric, ...]) -> dict[str, Any]:
    names = [{"Name": name, "Unit": unit} for name, unit, _ in metrics]
    return {"CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": DIMENSION_SETS, "Metrics": names}]}


def _now(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "_aws": {"Timestamp": time.time_ns() // 1_000_000, **document["_aws"]}}


def _offset_s() -> float:
    return time.time() - time.monotonic()
