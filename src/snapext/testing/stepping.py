"""Drive a phase on the running loop: async hooks in the task that waits, plain ones between its callbacks.

A plain hook may call asyncio.run(), which refuses where a loop runs. So it runs as in an asyncio server: as a callback
of the loop, outside of any task, and with the loop hidden.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from snapext.hooks import loops
from snapext.hooks.runner import Outcome

if TYPE_CHECKING:
    from snapext.hooks.runner import Phase


class _Step:
    """A turn of the phase: what is to be awaited until when, or how it has ended, or what went wrong with us."""

    def __init__(self) -> None:
        self.awaitable: tuple[Awaitable[object], float] | None = None
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None


async def drive(phase: Phase) -> Outcome:
    """Run a phase to its end on the running loop, or, where the app has bound another one that runs, on that."""
    ended: BaseException | None = None
    while True:
        step = await _next(phase, ended)
        if step.outcome is not None:
            return step.outcome
        if step.awaitable is None:
            raise step.error or RuntimeError("the phase has not gone on")
        try:
            await loops.run_here(*step.awaitable)
            ended = None
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the test is to end
            ended = error


async def _next(phase: Phase, ended: BaseException | None) -> _Step:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()
    step = _Step()

    def turn() -> None:
        asyncio._set_running_loop(None)
        try:
            step.awaitable = phase.send(ended)
        except StopIteration as stop:
            step.outcome = stop.value
        except BaseException as error:
            step.error = error
        finally:
            asyncio._set_running_loop(loop)
        if not done.done():
            done.set_result(None)

    loop.call_soon(turn)
    await done
    return step
