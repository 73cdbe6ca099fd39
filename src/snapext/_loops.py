"""Where `async def` hooks run: on the app's own event loop if we know it, else on a private one.

A pool or a client belongs to the loop on which it was made, so a hook that makes one has to run where the app will use
it. asyncio is imported only when a hook turns out to need it: apps without async hooks must not pay for it.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    import selectors

_bound: asyncio.AbstractEventLoop | None = None
_private: asyncio.AbstractEventLoop | None = None
_private_selector: selectors.EpollSelector | None = None


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
    """After a fork: a loop of the parent looks as if it ran, but nothing turns it in the child.

    The private one is closed, but not before it has an epoll set of its own: in the one that it shares with its parent
    it would take back the descriptors that wake the parent's loop, whose async hooks would then hang.
    """
    global _bound, _private, _private_selector
    loop, selector = _private, _private_selector
    _bound = _private = _private_selector = None
    if loop is not None and selector is not None and not loop.is_closed():
        with select.epoll() as own:
            os.dup2(own.fileno(), selector.fileno(), inheritable=False)
        if not loop.is_running():
            loop.close()


def run(awaitable: Awaitable[Any], deadline: float) -> None:
    """Wait for an awaitable until `deadline` (time.monotonic). Raises what it raises, or TimeoutError."""
    import asyncio

    async def guarded() -> BaseException | None:
        try:
            await awaitable
        except (SystemExit, KeyboardInterrupt) as error:  # let out, it would end the app's loop and leave us waiting
            return error
        return None

    async def wait() -> BaseException | None:
        return await asyncio.wait_for(guarded(), max(0.0, deadline - time.monotonic()))

    loop = _bound
    if loop is not None and loop.is_running():
        future = asyncio.run_coroutine_threadsafe(wait(), loop)
        try:
            # The loop itself may be blocked by the app; then wait_for's own clock does not tick either.
            error = future.result(max(0.0, deadline - time.monotonic()) + 0.1)
        except TimeoutError:
            future.cancel()
            raise
    else:
        error = _private_loop().run_until_complete(wait())
    if error is not None:
        raise error


def _private_loop() -> asyncio.AbstractEventLoop:
    """One private loop for the process: what a before-snapshot hook made on it, an after-restore hook can use."""
    global _private, _private_selector
    if _private is None:
        import asyncio
        import selectors

        _private_selector = selectors.EpollSelector()
        _private = asyncio.SelectorEventLoop(_private_selector)
    return _private
