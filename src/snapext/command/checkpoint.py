"""Explicit mode: the function itself reports that it is up, and waits until it has crossed the boundary."""

from __future__ import annotations

import os
import sys

from snapext.errors import CheckpointError, ControlError
from snapext.guest import notice
from snapext.guest.own import awaits_restore, is_off
from snapext.wire.ask import START_TIMEOUT_S, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SAID_OFF = "SNAPEXT_MODE=off: no hook runs, and the checkpoint waits for nothing"


def checkpoint(before_asking: Callable[[], object] = lambda: None) -> None:
    """Take this environment across the boundary. See `snapext.checkpoint`, and `ask` for before_asking."""
    if is_off(os.environ):
        notice.once("off", SAID_OFF)
    if not awaits_restore(os.environ):
        return
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise CheckpointError(
            "an event loop runs in this thread and would block: await asyncio.to_thread(snapext.checkpoint)"
        )
    try:
        result = ask("checkpoint", patience_s=START_TIMEOUT_S, before_asking=before_asking)
    except ControlError as error:
        raise CheckpointError(str(error)) from error
    if not result["ok"]:
        raise CheckpointError(str(result["message"]), int(result["exit_status"]) or 1)
