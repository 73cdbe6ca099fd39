"""Where `async def` hooks run: on the app's own event loop if we know it, else on a private one.

A pool or a client belongs to the loop on which it was made, so a hook that makes one has to run where the app will use
it. asyncio is imported only when a hook turns out to need it: apps without async hooks must not pay for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_bound: asyncio.AbstractEventLoop | None = None
_private: asyncio.AbstractEventLoop | None = None


def bind_loop(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Run async hooks on `loop`, or on the running one. Raises RuntimeError when there is none."""
    global _bound
    if loop is None:
        import asyncio

        loop = asyncio.get_running_loop()
    _bound = loop


def bind_running_loop() -> None:
    """Bind the loop that runs in this thread, if one does and none is bound yet."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or (_bound is not None and not _bound.is_closed()):
        return
    try:
        bind_loop(asyncio.get_running_loop())
    except RuntimeError:
        return


def forget_loops() -> None:
    """After a fork: a loop of the parent looks as if it ran, but nothing turns it in the child."""
    global _bound, _private
    _bound = _private = None


def run(awaitable: Awaitable[Any], deadline: float) -> None:
    """Wait for an awaitable until `deadline` (time.monotonic). Raises what it raises, or TimeoutError."""
    import asyncio

    async def wait() -> None:
        await asyncio.wait_for(awaitable, max(0.0, deadline - time.monotonic()))

    loop = _bound
    if loop is not None and loop.is_running():
        future = asyncio.run_coroutine_threadsafe(wait(), loop)
        try:
            # The loop itself may be blocked by the app; then wait_for's own clock does not tick either.
            future.result(max(0.0, deadline - time.monotonic()) + 0.1)
        except TimeoutError:
            future.cancel()
            raise
    else:
        _private_loop().run_until_complete(wait())


def _private_loop() -> asyncio.AbstractEventLoop:
    """One private loop for the process: what a before-snapshot hook made on it, an after-restore hook can use."""
    global _private
    if _private is None:
        import asyncio

        _private = asyncio.new_event_loop()
    return _private
