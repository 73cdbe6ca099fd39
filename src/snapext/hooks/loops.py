"""Where `async def` hooks run: on the app's own event loop if we know it, else on a private one.

A pool or a client belongs to the loop on which it was made, so a hook that makes one has to run where the app will use
it. asyncio is imported only when a hook turns out to need it: apps without async hooks must not pay for it.
"""

from __future__ import annotations

import os
import select
import sys
import time
from _thread import get_ident

from snapext.guest import descriptors, notice
from snapext.guest.primitives import importing

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    import selectors
    from collections.abc import Awaitable
    from types import FrameType
    from typing import Any

BIND = "Call snapext.bind_loop() where the app's loop runs, in an ASGI lifespan say"
RUNS_A_LOOP = frozenset({("asyncio.base_events", "run_forever"), ("asyncio.runners", "run")})
epoll = getattr(select, "epoll", None)
"""Taken before the app is patched: eventlet removes it, and the selector below."""

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
    loop = running_loop()
    if loop is not None and (_bound is None or _bound.is_closed()):
        bind_loop(loop)


def bound_running_loop() -> asyncio.AbstractEventLoop | None:
    """The app's loop, if it is bound and runs."""
    return _bound if _bound is not None and _bound.is_running() else None


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread. Another thread may be in the middle of importing asyncio."""
    get = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if get is None else get()


def bound() -> asyncio.AbstractEventLoop | None:
    """The app's loop, whether it runs or not."""
    return _bound


def exchange(
    bound: asyncio.AbstractEventLoop | None,
    private: asyncio.AbstractEventLoop | None,
    selector: selectors.EpollSelector | None,
) -> tuple[asyncio.AbstractEventLoop | None, asyncio.AbstractEventLoop | None, selectors.EpollSelector | None]:
    """For tests: have other loops from now on, and return those that there were."""
    global _bound, _private, _private_selector
    before = _bound, _private, _private_selector
    _bound, _private, _private_selector = bound, private, selector
    return before


def forget_loops() -> None:
    """After a fork: a loop of the parent looks as if it ran, but nothing turns it in the child.

    The private one is closed, but not before it has an epoll set of its own: in the one that it shares with its parent
    it would take back the descriptors that wake the parent's loop, whose async hooks would then hang.
    """
    global _bound, _private, _private_selector
    loop, selector = _private, _private_selector
    _bound = _private = _private_selector = None
    if loop is not None and selector is not None and epoll is not None and not loop.is_closed():
        with epoll() as own:
            os.dup2(own.fileno(), selector.fileno(), inheritable=False)
        if not loop.is_running():
            loop.close()


def run(awaitable: Awaitable[Any], deadline: float) -> None:
    """Wait for an awaitable until `deadline` (time.monotonic). Raises what it raises, or TimeoutError."""
    with importing:
        import asyncio

    loop = _bound
    if loop is not None and loop.is_running():
        future = asyncio.run_coroutine_threadsafe(_guarded_until(awaitable, deadline), loop)
        try:
            # The loop itself may be blocked by the app; then wait_for's own clock does not tick either.
            error = future.result(max(0.0, deadline - time.monotonic()) + 0.1)
        except TimeoutError:
            future.cancel()
            raise
    else:
        _warn_of_another_loop(awaitable)
        error = _private_loop().run_until_complete(_guarded_until(awaitable, deadline))
    if error is not None:
        raise error


def _warn_of_another_loop(awaitable: Awaitable[Any]) -> None:
    """An async hook on the private loop is fine, unless the app has a loop, which is to use what the hook opens."""
    thread = _thread_with_a_loop()
    if thread:
        name = getattr(awaitable, "__qualname__", type(awaitable).__name__)
        notice.once(
            "private loop",
            f"the async hook {name} runs on a loop of snapext's own in process {os.getpid()}, while a loop of the app "
            f"runs in {thread}: the app cannot use what the hook opens. {BIND}",
        )


def _thread_with_a_loop() -> str | None:
    """Another thread in which a loop runs. asyncio keeps no list of them, but each is run by a function of its own."""
    from threading import main_thread  # asyncio has imported it

    for ident, top in sys._current_frames().items():
        frame: FrameType | None = top
        while frame is not None:
            if (frame.f_globals.get("__name__"), frame.f_code.co_name) in RUNS_A_LOOP and ident != get_ident():
                return "the main thread" if ident == main_thread().ident else "another thread"
            frame = frame.f_back
    return None


async def run_here(awaitable: Awaitable[Any], deadline: float) -> None:
    """The same on the running loop, or, where the app has bound another one that runs, on that."""
    import asyncio

    guarded = _guarded_until(awaitable, deadline)
    loop = _bound
    if loop is not None and loop is not asyncio.get_running_loop() and loop.is_running():
        error = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(guarded, loop))
    else:
        error = await guarded
    if error is not None:
        raise error


async def _guarded_until(awaitable: Awaitable[Any], deadline: float) -> BaseException | None:
    """Await it until `deadline`. SystemExit and KeyboardInterrupt are returned: they would end the app's loop."""
    import asyncio

    async def guarded() -> BaseException | None:
        try:
            await awaitable
        except (SystemExit, KeyboardInterrupt) as error:
            return error
        return None

    return await asyncio.wait_for(guarded(), max(0.0, deadline - time.monotonic()))


def _private_loop() -> asyncio.AbstractEventLoop:
    """One private loop for the process: what a before-snapshot hook made on it, an after-restore hook can use."""
    global _private, _private_selector
    if _private is None:
        with importing:
            import asyncio
            import selectors

        taken = descriptors.occupy_standard()  # the loop opens an epoll set and two sockets
        try:
            if epoll is not None and hasattr(selectors, "EpollSelector"):
                _private_selector = selectors.EpollSelector()
            _private = asyncio.SelectorEventLoop(_private_selector)
        finally:
            descriptors.vacate(taken)
    return _private
