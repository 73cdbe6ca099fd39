"""What takes its time: hooks that wait, hang or are on a loop that does not turn, and how long each of them took."""

import asyncio
import threading
import time

import pytest

import snapext
from helpers import LIMIT_S
from phases import failure, forget_loops, no_hooks, run_after_restore, run_before_snapshot, turning_loop
from snapext.hooks import loops
from snapext.integrations import apps_loop


@pytest.fixture(autouse=True)
def clean():
    """No hooks and no loops before and after each test, and no link to anything."""
    with no_hooks():
        yield
    forget_loops()


@pytest.fixture
def app_loop():
    """An event loop that turns in a thread of its own, bound as the app's."""
    with turning_loop() as loop:
        yield loop


def raise_(error):
    raise error


async def raise_async_after(seconds):
    await asyncio.sleep(seconds)
    raise ValueError("late")


def test_a_failure_has_the_time_of_its_own_hook():
    """Not that of the phase, in which others ran before it."""
    snapext.register_after_restore(threading.Event().wait, 0.2)
    snapext.register_after_restore(raise_, ValueError("boom"))
    snapext.register_before_snapshot(raise_async_after, 0.05)
    after = run_after_restore(10_000, print)

    assert after.error is not None
    assert after.error.duration_ms + 200 <= after.duration_ms
    assert failure(run_before_snapshot).duration_ms >= 50


def test_times_are_those_of_the_hooks():
    """Each hook's time is its own, and the whole is at least their sum."""
    gate = threading.Event()
    snapext.register_after_restore(gate.wait, 0.2)
    snapext.register_after_restore(lambda: None)
    result = run_after_restore(10_000, print)

    assert result.hooks[0].duration_ms >= 200
    assert result.hooks[0].duration_ms + result.hooks[1].duration_ms <= result.duration_ms


@pytest.mark.parametrize("whose", ["bound", "private"])
def test_an_async_hook_that_hangs_ends_with_the_budget(request, whose):
    """A hook that never ends is cancelled when the budget is used up, and the report says so."""
    if whose == "bound":
        request.getfixturevalue("app_loop")
    cancelled = threading.Event()

    async def hangs():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    snapext.register_after_restore(hangs)
    started = time.monotonic()
    reported = failure(run_after_restore, timeout_ms=300)

    assert reported.type == "TimeoutError"
    assert "still running" in reported.message
    assert "budget" in reported.message
    assert cancelled.wait(LIMIT_S)
    assert time.monotonic() - started < 5


def test_a_loop_that_the_app_blocks_does_not_block_us_for_ever(app_loop):
    """When the app's own loop is stuck, the phase still ends soon after its budget."""
    blocked, release = threading.Event(), threading.Event()
    app_loop.call_soon_threadsafe(lambda: (blocked.set(), release.wait(LIMIT_S)))
    blocked.wait(LIMIT_S)
    snapext.register_after_restore(asyncio.Future, loop=app_loop)
    try:
        assert failure(run_after_restore, timeout_ms=20).type == "TimeoutError"
    finally:
        release.set()


def test_a_loop_that_is_slow_to_turn_is_the_apps(monkeypatch):
    """As on a busy machine: it does something else meanwhile. On another loop the work of a library fails, or harms."""
    monkeypatch.setattr(loops, "_bound", None)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        loop.call_soon_threadsafe(threading.Event().wait, 0.3)
        apps_loop.AppsLoop().bind(lambda _: [loop])
        assert loops.bound() is loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
