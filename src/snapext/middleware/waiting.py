"""Decide about one request: it passes, or waits for the hooks, or is the web adapter's own. For threads and for loops.

Each function returns None where the request may pass, else the status and the body to answer it with.
"""

from __future__ import annotations

import os

from snapext.guest import notice
from snapext.guest.primitives import start_new_thread
from snapext.hooks import loops
from snapext.link import linking
from snapext.middleware import answers
from snapext.middleware.guard import Guard
from snapext.middleware.restoring import RESTORED, Restoring, run_alone
from snapext.middleware.routes import ENV_PATHS
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

    from snapext.link.link import Link
    from snapext.wire.messages import HookFailure

    Answer = tuple[int, bytes]

BEFORE_IT = frozenset({"init", BEFORE_SNAPSHOT})
"""The phases in which no web adapter can say that the environment has been restored."""


def wait(guard: Guard) -> Answer | None:
    """Wait in this thread; the first that comes runs the hooks in it."""
    return _answer(_restore(guard, told=False))


async def wait_here(guard: Guard) -> Answer | None:
    """The same on a loop, which goes on meanwhile: the hooks run in a thread of their own."""
    return _answer(await _restore_here(guard, told=False))


def adapter_says(guard: Guard, phase: str) -> Answer | None:
    """The web adapter posts a phase: run it, and answer when it is over. None: there is no such route (any more)."""
    if guard.is_off:
        return _answer_off(guard, phase)
    if not _takes(guard, phase):
        return None
    if phase == AFTER_RESTORE:
        return _answer_adapter(phase, _restore(guard, told=True))
    return _answer_adapter(phase, _before_snapshot(guard))


async def adapter_says_here(guard: Guard, phase: str) -> Answer | None:
    """The same on a loop."""
    if guard.is_off:
        return _answer_off(guard, phase)
    if not _takes(guard, phase):
        return None
    if phase == AFTER_RESTORE:
        return _answer_adapter(phase, await _restore_here(guard, told=True))
    loops.bind_running_loop()
    return _answer_adapter(phase, await _in_a_thread(lambda: _before_snapshot(guard)))


def _takes(guard: Guard, phase: str) -> bool:
    """Whether it is the right phase, and the first call. After the restore it is too late for the other."""
    if phase == BEFORE_SNAPSHOT and (guard.is_restoring() or guard.is_open):
        return False
    if phase == AFTER_RESTORE and _is_before_the_snapshot(linking.current()):
        return False
    return guard.routes.take(phase)


def _answer_off(guard: Guard, phase: str) -> Answer | None:
    """Run nothing, and fail nothing: without an answer of 2xx the adapter fails the phase."""
    if not guard.routes.take(phase):
        return None
    notice.once(
        "off: POST",
        f"SNAPEXT_MODE=off: process {os.getpid()} runs no hook when the web adapter posts to {ENV_PATHS[phase]}",
    )
    return _answer_adapter(phase, None)


def _is_before_the_snapshot(link: Link) -> bool:
    """Whether an extension says so: it would refuse, and a process whose restore was refused serves nothing.

    One that takes no word of the restore stays in init where nothing else tells it, also after the restore.
    """
    phase = link.view.phase
    return link.is_connected() and phase in BEFORE_IT and (phase != "init" or RESTORED in link.view.commands)


def _before_snapshot(guard: Guard) -> HookFailure | None:
    """With an extension nothing is to be done: no snapshot is taken before it has had the hooks run everywhere."""
    failure = None if linking.current().is_connected() else run_alone(BEFORE_SNAPSHOT).error
    if failure is not None:
        hook = f"hook {failure.hook}" if failure.hook else "phase"
        line = f"before_snapshot {hook} in process {os.getpid()} failed: {failure.type}: {failure.message}"
        notice.once("before_snapshot failed", f"{line}; the web adapter's POST gets 500. {failure.stack}")
    guard.remember()
    return failure


def _restore(guard: Guard, *, told: bool) -> HookFailure | None:
    restoring, mine = guard.claim(told=told)
    if mine:
        restoring.run()
    else:
        restoring.wait()
    return restoring.why_not()


async def _restore_here(guard: Guard, *, told: bool) -> HookFailure | None:
    loops.bind_running_loop()
    restoring, mine = guard.claim(told=told)
    if mine:
        _start(restoring.run)
    await _until_ended(restoring)
    return restoring.why_not()


async def _until_ended(restoring: Restoring) -> None:
    loop = loops.running_loop()
    if loop is None:  # a server on another library than asyncio: all its requests wait
        restoring.wait()
        return
    import asyncio

    future = loop.create_future()
    restoring.when_ended(lambda: _wake(loop, future))
    try:
        await asyncio.wait_for(future, restoring.left_s())
    except TimeoutError:
        restoring.gave_up()


async def _in_a_thread(call: Callable[[], HookFailure | None]) -> HookFailure | None:
    loop = loops.running_loop()
    if loop is None:
        return call()
    future = loop.create_future()

    def run() -> None:
        result = call()
        _wake(loop, future, result)

    _start(run)
    result: HookFailure | None = await future
    return result


def _start(run: Callable[[], None]) -> None:
    """Run it in a thread; where none can be had, here: then the loop stands still meanwhile."""
    try:
        start_new_thread(run, ())
    except RuntimeError as error:
        notice.debug(f"the hooks run in the loop's thread: {error}")
        run()


def _wake(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], result: HookFailure | None = None) -> None:
    def resolve() -> None:
        if not future.done():  # its request may have been cancelled
            future.set_result(result)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError as error:  # the loop is closed
        notice.debug(f"nobody waits for the hooks any more: {error}")


def _answer(failure: HookFailure | None) -> Answer | None:
    return None if failure is None else (answers.STATUS_UNAVAILABLE, answers.after_restore(failure))


def _answer_adapter(phase: str, failure: HookFailure | None) -> Answer:
    status = answers.STATUS_OK if failure is None else answers.STATUS_FAILED
    return status, (answers.after_restore if phase == AFTER_RESTORE else answers.before_snapshot)(failure)
