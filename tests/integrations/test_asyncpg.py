"""asyncpg with a real PostgreSQL."""

import asyncio
import gc

import asyncpg
import pytest

import snapext
from helpers import wait_until
from snapext.integrations import asyncpg as integration
from snapext.integrations import patience

PID = "select pg_backend_pid()"


async def pids(pool, count):
    """The server's processes of so many connections that are taken out at the same time."""
    taken = [await pool.acquire(timeout=5) for _ in range(count)]
    found = {await connection.fetchval(PID) for connection in taken}
    for connection in taken:
        await pool.release(connection)
    return found


def test_a_pool_is_empty_in_the_snapshot_and_connects_after_it(boundary, postgres):
    """What it opens in between is not used after the restore."""

    async def app():
        async with asyncpg.create_pool(postgres.url("asyncpg"), min_size=0, max_size=3) as pool:
            old = await pids(pool, 2)
            for _ in range(2):
                integration.install()
            await asyncio.to_thread(boundary.before)
            wait_until(lambda: not postgres.pids("asyncpg"))
            late = await pids(pool, 1)
            await asyncio.to_thread(boundary.after)
            assert not await pids(pool, 3) & (old | late)

    asyncio.run(app())
    assert boundary.lines == []


def test_connections_in_use_are_named_and_fail_nothing(boundary, postgres, monkeypatch):
    """A task of the app takes the last idle one just before we do. What is idle still is closed all the same."""
    monkeypatch.setattr(integration, "TAKE_WITHIN_S", 0.05)
    acquire = asyncpg.Pool.acquire
    taken = []

    async def after_a_task(pool, *, timeout):
        if pool.get_idle_size() == 1:
            taken.append(await acquire(pool))
        return await acquire(pool, timeout=timeout)

    async def app():
        async with asyncpg.create_pool(postgres.url("used"), min_size=0, max_size=2) as pool:
            await pids(pool, 2)
            integration.install(pool)
            with monkeypatch.context() as contended:
                contended.setattr(asyncpg.Pool, "acquire", after_a_task)
                await asyncio.to_thread(boundary.before)
            wait_until(lambda: not postgres.pids("used"))
            await asyncio.to_thread(boundary.after)
            await pool.release(*taken)

    asyncio.run(app())
    (line,) = boundary.lines
    assert "(1 in all) was in use before the snapshot, by work in the background, and is closed now" in line


@pytest.mark.parametrize("ends", [False, True])
def test_work_in_the_background_is_waited_for_or_interrupted_and_named(boundary, postgres, blocked, monkeypatch, ends):
    """A query on a connection of a pool, and on one of its own, which lets no other in meanwhile."""
    if ends:
        monkeypatch.setattr(patience, "WAIT_S", 20)

    async def work(connection):
        try:
            await connection.execute(blocked.query)
        except asyncpg.PostgresError as error:
            return error

    async def of_pool(pool):
        async with pool.acquire() as connection:
            return await work(connection)

    async def app():
        async with asyncpg.create_pool(postgres.url("works"), min_size=0, max_size=2) as pool:
            own = await asyncpg.connect(postgres.url("works"))
            works = [asyncio.create_task(work(own)), asyncio.create_task(of_pool(pool))]
            await asyncio.to_thread(wait_until, lambda: postgres.running("works", blocked.query) == 2)
            snapext.install_all()
            if ends:
                blocked.let_go_soon()
            await asyncio.to_thread(boundary.before)
            errors = await asyncio.gather(*works)
            wait_until(lambda: not postgres.pids("works"))
            await asyncio.to_thread(boundary.after)
            return errors

    errors = asyncio.run(app())
    in_use = ["was in use before the snapshot" in line for line in boundary.lines]
    if ends:
        assert (errors, in_use) == ([None, None], [False])
    else:
        assert [type(error) for error in errors] == [asyncpg.QueryCanceledError] * 2
        assert in_use == [True, True]


@pytest.mark.skipif(not hasattr(asyncpg.Pool, "get_init_size"), reason="an older asyncpg does not fill its pools again")
def test_a_pool_that_fills_itself_again_is_named(boundary, postgres):
    """From 0.32 on it opens min_size connections as soon as one is closed: none of them is used after the restore."""

    async def app():
        async with asyncpg.create_pool(postgres.url("floor"), min_size=2, max_size=3) as pool:
            old = postgres.pids("floor")
            integration.install()
            await asyncio.to_thread(boundary.before)
            await asyncio.to_thread(boundary.after)
            assert not await pids(pool, 3) & old

    asyncio.run(app())
    (line,) = boundary.lines
    assert "a pool keeps 2 connections open in the snapshot" in line
    assert "give create_pool() min_size=0 and init_size=2" in line


def test_a_connection_is_closed_with_a_recipe(boundary, postgres):
    """That of a pool is the pool's."""

    async def app():
        async with asyncpg.create_pool(postgres.url("single"), min_size=0) as pool:
            await pids(pool, 1)
            own = await asyncpg.connect(postgres.url("single"))
            integration.install()
            await asyncio.to_thread(boundary.before)
            assert own.is_closed()
            wait_until(lambda: not postgres.pids("single"))
            await asyncio.to_thread(boundary.after)

    asyncio.run(app())
    (line,) = boundary.lines
    assert "is closed now, and cannot be opened again. Call asyncpg.connect()" in line


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_connection_of_another_loop_is_named_and_fails_nothing(boundary, postgres):
    """Of an asyncio.run() at import: nothing can close it on the app's loop."""

    async def connect():
        return await asyncpg.connect(postgres.url("other"))

    left = asyncio.run(connect())

    async def app():
        integration.install()
        await asyncio.to_thread(boundary.before)
        await asyncio.to_thread(boundary.after)

    asyncio.run(app())
    (line,) = boundary.lines
    assert "is connected on an event loop that has ended" in line
    del left
    gc.collect()


def test_a_closed_pool_is_left_alone(boundary, postgres):
    """And one that was never opened, and one that is closing: what it has idle cannot be taken out any more."""

    async def app():
        closed, closing = [asyncpg.create_pool(postgres.url("closed"), min_size=0, max_size=2) for _ in range(2)]
        async with closed:
            await pids(closed, 1)
        await closing
        await pids(closing, 2)
        taken = await closing.acquire()
        ends = asyncio.create_task(closing.close())
        await asyncio.sleep(0)
        assert closing.is_closing()
        assert closing.get_idle_size() == 1
        for pool in (closed, closing, asyncpg.create_pool(postgres.url("closed"))):
            integration.install(pool)
        await asyncio.to_thread(boundary.before)
        assert not taken.is_closed()
        await closing.release(taken)
        await ends
        await asyncio.to_thread(boundary.after)

    asyncio.run(app())
    assert boundary.lines == []
    wait_until(lambda: not postgres.pids("closed"))
