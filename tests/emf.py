"""The rules of CloudWatch's embedded metric format, as its specification has them, applied to one line of a log.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import json
import time
from typing import Any

MAX_BYTES = 256 * 1024
MAX_METRICS, MAX_DIMENSIONS = 100, 30
MAX_NAME, MAX_DIMENSION_NAME, MAX_DIMENSION_VALUE, MAX_NAMESPACE = 1024, 250, 1024, 1024
UNITS = {"Milliseconds", "Count"}
"""Those of MetricDatum that we have a use for."""


def metrics_of(line: str) -> dict[str, tuple[float, str]]:
    """The value and the unit of each metric that CloudWatch takes from a line. Fails where a rule is broken."""
    assert len(line.encode()) <= MAX_BYTES
    root = json.loads(line)  # nothing before it, and nothing behind
    assert isinstance(root, dict)
    metadata = root["_aws"]
    assert set(metadata) == {"Timestamp", "CloudWatchMetrics"}
    assert type(metadata["Timestamp"]) is int
    assert abs(metadata["Timestamp"] / 1000 - time.time()) < 60, "in milliseconds, and of now"
    found: dict[str, tuple[float, str]] = {}
    assert type(metadata["CloudWatchMetrics"]) is list
    for directive in metadata["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= MAX_NAMESPACE
        assert directive["Dimensions"]
        for names in directive["Dimensions"]:
            _check_dimensions(names, root)
        assert 1 <= len(directive["Metrics"]) <= MAX_METRICS
        for metric in directive["Metrics"]:
            assert set(metric) == {"Name", "Unit"}
            assert 1 <= len(metric["Name"]) <= MAX_NAME
            assert metric["Unit"] in UNITS
            value = root[metric["Name"]]
            assert type(value) in (int, float)
            assert metric["Name"] not in found
            found[metric["Name"]] = (value, metric["Unit"])
    return found


def _check_dimensions(names: list[Any], root: dict[str, Any]) -> None:
    assert 1 <= len(names) <= MAX_DIMENSIONS
    for name in names:
        assert type(name) is str
        assert 1 <= len(name) <= MAX_DIMENSION_NAME
        assert not name.startswith(":")
        value = root[name]
        assert type(value) is str
        assert value.strip()
        assert value.isascii()
        assert len(value) <= MAX_DIMENSION_VALUE
