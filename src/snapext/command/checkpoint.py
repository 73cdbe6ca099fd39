"""Explicit mode: the function itself reports that it is up, and waits until it has crossed the boundary."""

from __future__ import annotations

import os
import sys

from snapext.errors import CheckpointError, ControlError
from snapext.guest.own import is_snap_start
from snapext.wire.ask import START_TIMEOUT_S, ask


def checkpoint() -> None:
    """Take this environment across the boundary. See `snapext.checkpoint`."""
    if not is_snap_start(os.environ):
        return
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise CheckpointError(
            "an event loop runs in this thread and would block: await asyncio.to_thread(snapext.checkpoint)"
        )
    try:
        result = ask("checkpoint", patience_s=START_TIMEOUT_S)
    except ControlError as error:
        raise CheckpointError(str(error)) from error
    if not result["ok"]:
        raise CheckpointError(str(result["message"]), int(result["exit_status"]) or 1)
