"""A plain hook that runs a loop of its own: one that leaves what belongs to that loop is named, and no other."""

import asyncio
import gc
import socket

import pytest

from snapext.hooks import around, own_loops
from snapext.hooks.runner import after_restore, run

kept = []


@pytest.fixture
def said(monkeypatch):
    """The lines for a person."""
    lines = []
    monkeypatch.setattr(own_loops.notice, "once", lambda _, line: lines.append(line))
    own_loops.settle()
    yield lines
    for transport in kept:
        transport._sock.close()  # its loop is closed, and so it cannot be by itself
        transport._sock = None
    kept.clear()


@pytest.fixture
def port():
    """A server that accepts, by its backlog."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def connects(port):
    async def connect():
        kept.append((await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port))[0])

    asyncio.run(connect())


def connects_and_closes(port):
    async def ask():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        await writer.wait_closed()
        return await asyncio.to_thread(len, ())

    asyncio.run(ask())


def recovers(port):
    """What is left of it is a circle: the exception, its frames, and the loop."""

    async def fails():
        raise ConnectionError

    try:
        asyncio.run(fails())
    except ConnectionError as error:
        circle = [error]
        circle.append(circle)


def returns_it(port):
    """What it returns is kept by nobody."""
    future = []

    async def connect():
        future.append(asyncio.get_running_loop().create_future())

    asyncio.run(connect())
    return future


def run_after(hook, port):
    outcome = run(after_restore([(hook, (port,), {})], 10_000, lambda _: None))
    assert outcome.error is None


def test_what_it_leaves_is_warned_of(port, said):
    """The line names the hook, what holds the loop, and what to register instead."""
    run_after(connects, port)
    (line,) = said
    assert "the hook test_own_loops.connects has run a loop of its own in process" in line
    assert "asyncio.selector_events._SelectorSocketTransport" in line
    assert "Register the async function itself" in line
    assert "bind_loop()" in line
    run_after(connects_and_closes, port)
    assert len(said) == 1


@pytest.mark.parametrize("hook", [connects_and_closes, recovers, returns_it])
def test_a_loop_that_is_over_is_no_reason(hook, port, said):
    """What it opened it has closed, or nobody has it."""
    run_after(hook, port)
    assert said == []


def test_what_was_there_before_is_no_hooks(port, said):
    """An app that has left such things when it was imported."""
    connects(port)
    own_loops.settle()
    run_after(connects_and_closes, port)
    assert said == []


def test_a_restore_looks_at_nothing_that_was_there_before(port, said):
    """Each page of it would have to be fetched from the snapshot."""
    young = [[number] for number in range(10_000)]
    run(around.before_snapshot(1_000, lambda _: None))
    assert sum(len(gc.get_objects(age)) for age in (0, 1)) < 1_000 < len(young)


def test_a_loop_that_is_kept_open_is_the_apps(said):
    """A server that runs its loop step by step goes on with it."""
    loop = asyncio.new_event_loop()
    run_after(lambda _: loop.run_until_complete(asyncio.sleep(0)), 0)
    loop.close()
    assert said == []


def test_it_waits_for_no_app_that_collects_nothing(port, said, monkeypatch):
    """All of its objects are young."""
    monkeypatch.setattr(own_loops, "MAX_YOUNG", 0)
    run_after(connects, port)
    assert said == []


def test_a_look_that_fails_is_ours(port, said, monkeypatch):
    """The hook has done its work."""
    monkeypatch.setattr(own_loops.gc, "get_count", None)
    run_after(connects, port)
    monkeypatch.undo()
    assert said == []
