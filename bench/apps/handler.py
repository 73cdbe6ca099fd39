"""The function for AWS's own runtime client, whose hooks run in its one process."""

from __future__ import annotations

from typing import Any

from snapshot_restore_py import (  # type: ignore[import-untyped]
    register_after_restore,
    register_before_snapshot,
)


def hook() -> None:
    """A hook that does nothing: the benchmark measures the way to it."""


def handle(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - the runtime passes it
    return {"statusCode": 200, "body": "hello"}


register_before_snapshot(hook)
register_after_restore(hook)
