"""This process's hooks in the hands of a test: none but its own, and one phase of them, run as the link runs it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

import snapext
from helpers import LIMIT_S
from snapext.hooks import loops, runner
from snapext.hooks.runner import Outcome
from snapext.link import linking
from snapext.wire.messages import HookFailure

Run = Callable[[int, Callable[[str], object]], Outcome]


@contextlib.contextmanager
def no_hooks() -> Iterator[None]:
    """No hooks at first and no link to anything; afterwards the hooks that there were."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(linking, "hook_registered", lambda: None)
        kept = [(hooks, list(hooks)) for hooks in (snapext.get_before_snapshot(), snapext.get_after_restore())]
        for hooks, _ in kept:
            hooks.clear()
        try:
            yield
        finally:
            for hooks, before in kept:
                hooks[:] = before


def forget_loops() -> None:
    """The app's, and the one of snapext's own that an async hook of a test was run on."""
    if loops._private is not None:
        loops._private.close()
    loops.forget_loops()


@contextlib.contextmanager
def turning_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that turns in a thread of its own, bound as the app's."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    snapext.bind_loop(loop)
    yield loop
    for _ in range(3):  # what the test left behind has its turns first
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(LIMIT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(LIMIT_S)
    loop.close()


def run_before_snapshot(timeout_ms: int, on_start: Callable[[str], object]) -> Outcome:
    hooks = (snapext.get_before_snapshot(), snapext.get_after_restore())
    return runner.run(runner.before_snapshot(*hooks, timeout_ms, on_start))


def run_after_restore(timeout_ms: int, on_start: Callable[[str], object]) -> Outcome:
    return runner.run(runner.after_restore(snapext.get_after_restore(), timeout_ms, on_start))


def failure(run: Run, timeout_ms: int = 10_000) -> HookFailure:
    """How a phase that has to fail fails."""
    error = run(timeout_ms, lambda _: None).error
    assert error is not None
    return error
