"""psycopg, psycopg_pool and psycopg2 with a real PostgreSQL."""

import asyncio
import contextlib
import logging
import threading

import psycopg
import psycopg2
import psycopg2.pool
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool, NullConnectionPool

import snapext
from helpers import wait_until
from snapext.integrations import patience
from snapext.integrations import psycopg as psycopg_integration
from snapext.integrations import psycopg2 as psycopg2_integration
from snapext.integrations import psycopg_pool as psycopg_pool_integration

PID = "select pg_backend_pid()"


@pytest.mark.parametrize("options", [{}, {"close_returns": True}, {"max_size": 2}])
def test_a_pool_is_empty_in_the_snapshot_and_full_after_it(boundary, postgres, options):
    """No connection from before is used after, also not those that a thread has taken out or opened in between."""
    with ConnectionPool(postgres.url("pool"), min_size=2, open=True, **options) as pool:
        pool.wait()
        with pool.connection():  # one that was taken out and given back
            pass
        old = postgres.pids("pool")
        assert len(old) == 2
        for _ in range(2):
            psycopg_pool_integration.install()
        boundary.before()
        wait_until(lambda: not postgres.pids("pool"))
        boundary.after()
        with pool.connection(timeout=5) as first, pool.connection(timeout=5) as second:
            new = {connection.execute(PID).fetchone()[0] for connection in (first, second)}
        assert not new & old
        assert pool.get_stats()["pool_size"] == 2
    wait_until(lambda: not postgres.pids("pool"))


class Contended(ConnectionPool):
    """A thread of the app takes what is idle just before we do."""

    def getconn(self, timeout=None):
        self.used = super().getconn()
        return super().getconn(timeout)


class AsyncContended(AsyncConnectionPool):
    """A task does."""

    async def getconn(self, timeout=None):
        self.used = await super().getconn()
        return await super().getconn(timeout)


LONG = "select pg_sleep(60)"
"""A query that nobody waits for."""


class Works(threading.Thread):
    """Work in the background: a query, in a transaction. Returns when that runs."""

    def __init__(self, postgres, name, connection, query):
        super().__init__()
        self.error = None
        self._connection, self._query = connection, query
        self.start()
        wait_until(lambda: postgres.running(name, query))

    def run(self):
        try:
            with self._connection as connection:
                cursor = connection.cursor()
                cursor.execute(self._query)
        except Exception as error:
            self.error = error


@contextlib.contextmanager
def given_back(pool):
    """What psycopg2's pools have no context for."""
    connection = pool.getconn()
    try:
        yield connection
        connection.commit()
    finally:
        pool.putconn(connection)


@pytest.mark.parametrize("everything", [False, True])
def test_work_that_does_not_end_is_interrupted_and_named(boundary, postgres, everything):
    """The server sees its connections go; one line for each pool and library, whether it alone or all is installed."""
    url = postgres.url("long")
    plain, two = psycopg.connect(url), psycopg2.connect(url)
    two_pool = psycopg2.pool.ThreadedConnectionPool(2, 3, url)
    with ConnectionPool(url, min_size=2, open=True, name="jobs") as pool:
        pool.wait()
        contexts = (plain, two, given_back(two_pool), pool.connection())
        works = [Works(postgres, "long", one, f"{LONG} /* {number} */") for number, one in enumerate(contexts)]
        if everything:
            snapext.install_all()
        else:
            psycopg_pool_integration.install(pool)
            psycopg_integration.install(plain)
            for one in (two, two_pool):
                psycopg2_integration.install(one)
        boundary.before()
        for work in works:
            work.join()
            assert isinstance(work.error, psycopg.OperationalError | psycopg2.Error)
        wait_until(lambda: not postgres.running("long", LONG))
        boundary.after()
        with pool.connection(timeout=5) as connection:
            connection.execute(PID)
    two_pool.closeall()
    assert sum("was in use before the snapshot, by work" in line for line in boundary.lines) == 4 == len(boundary.lines)
    assert sum("of the pool 'jobs' (1 in all)" in line for line in boundary.lines) == 1


def test_async_work_is_interrupted_in_the_same_way(boundary, postgres):
    """Of a pool, and of a connection of its own."""

    async def work(connection):
        async with connection as own:
            await own.execute(LONG)

    async def app():
        own = await psycopg.AsyncConnection.connect(postgres.url("tasks"))
        async with AsyncConnectionPool(postgres.url("tasks"), min_size=1, open=False) as pool:
            await pool.wait()
            works = [asyncio.create_task(work(one)) for one in (own, pool.connection())]
            await asyncio.to_thread(wait_until, lambda: postgres.running("tasks", LONG) == 2)
            snapext.install_all()
            await asyncio.to_thread(boundary.before)
            errors = await asyncio.gather(*works, return_exceptions=True)
            await asyncio.to_thread(wait_until, lambda: not postgres.running("tasks", LONG))
            await asyncio.to_thread(boundary.after)
            async with pool.connection(timeout=5) as connection:
                await connection.execute(PID)
        return errors

    assert [isinstance(error, psycopg.OperationalError) for error in asyncio.run(app())] == [True, True]
    assert sum("was in use before the snapshot, by work" in line for line in boundary.lines) == 2 == len(boundary.lines)


def test_a_pool_that_cannot_open_its_connections_is_named(boundary):
    """The snapshot does not wait for them."""
    with ConnectionPool("host=127.0.0.1 port=1 user=nobody", min_size=1, open=True, name="lame") as pool:
        psycopg_pool_integration.install(pool)
        boundary.before()
    (line,) = boundary.lines
    assert "pool 'lame' is about to open connections before the snapshot (1)" in line


def test_work_that_ends_soon_is_waited_for(boundary, postgres, blocked, monkeypatch):
    """Nothing of it fails, and nobody has to hear of it."""
    monkeypatch.setattr(patience, "WAIT_S", 20)
    url = postgres.url("soon")
    two_pool = psycopg2.pool.ThreadedConnectionPool(2, 3, url)
    with ConnectionPool(url, min_size=2, open=True) as pool:
        pool.wait()
        contexts = (given_back(two_pool), pool.connection())
        works = [Works(postgres, "soon", one, f"{blocked.query} /* {number} */") for number, one in enumerate(contexts)]
        snapext.install_all()
        blocked.let_go_soon()
        boundary.before()
        wait_until(lambda: not postgres.pids("soon"))
        boundary.after()
        for work in works:
            work.join()
    two_pool.closeall()
    assert [work.error for work in works] == [None, None]
    assert boundary.lines == []


def test_a_connection_that_others_take_first_fails_nothing(boundary, postgres, monkeypatch):
    """It is in use then, and named."""
    monkeypatch.setattr(psycopg_pool_integration, "TAKE_WITHIN_S", 0.05)

    async def app():
        async with AsyncContended(postgres.url("first"), min_size=1, max_size=1, open=False, name="task") as tasks:
            await tasks.wait()
            psycopg_pool_integration.install(tasks)
            await asyncio.to_thread(boundary.before)
            await asyncio.to_thread(boundary.after)
            await tasks.putconn(tasks.used)

    with Contended(postgres.url("first"), min_size=1, max_size=1, open=True, name="thread") as threads:
        threads.wait()
        psycopg_pool_integration.install(threads)
        asyncio.run(app())
        threads.putconn(threads.used)
    assert sorted("pool 'task' (1 in all) was in use" in line for line in boundary.lines) == [False, True]


def test_what_a_pool_opens_before_the_snapshot_is_replaced_after_it(boundary, postgres):
    """A request came when the pool was empty already."""
    with ConnectionPool(postgres.url("late"), min_size=1, max_size=2, open=True) as pool:
        pool.wait()
        psycopg_pool_integration.install(pool)
        boundary.before()
        with pool.connection() as late:
            stale = late.execute(PID).fetchone()[0]
        boundary.after()
        for _ in range(3):
            with pool.connection(timeout=5) as connection:
                assert connection.execute(PID).fetchone()[0] != stale
        wait_until(lambda: stale not in postgres.pids("late"))


def test_a_pool_that_is_not_open_or_keeps_nothing_is_left_alone(boundary, postgres):
    """And one without idle connections."""
    closed = ConnectionPool(postgres.url("closed"), open=False)
    with NullConnectionPool(postgres.url("null"), open=True) as null:
        psycopg_pool_integration.install()
        boundary.before()
        boundary.after()
        with null.connection() as connection:
            connection.execute("select 1")
    assert closed.closed
    assert boundary.lines == []


def test_an_async_pool_is_emptied_and_filled_on_its_loop(boundary, postgres):
    """Which nobody has bound."""

    async def app():
        async with AsyncConnectionPool(postgres.url("apool"), min_size=2, open=False) as pool:
            await pool.wait()
            old = postgres.pids("apool")
            psycopg_pool_integration.install()
            await asyncio.to_thread(boundary.before)
            wait_until(lambda: not postgres.pids("apool"))
            await asyncio.to_thread(boundary.after)
            async with pool.connection(timeout=5) as first, pool.connection(timeout=5) as second:
                new = {(await (await connection.execute(PID)).fetchone())[0] for connection in (first, second)}
            assert len(old) == 2
            assert not new & old

    asyncio.run(app())
    assert boundary.lines == []


def test_a_connection_of_psycopg_is_closed_with_a_recipe(boundary, postgres):
    """Sync and async; those of a pool are the pool's, and one that is closed already is not spoken of."""

    async def app():
        own = await psycopg.AsyncConnection.connect(postgres.url("own"))
        await asyncio.to_thread(boundary.before)
        assert own.closed

    with ConnectionPool(postgres.url("own"), min_size=1, open=True) as pool:
        pool.wait()
        psycopg.connect(postgres.url("own")).close()
        snapext.install_all()
        boundary.before()
        assert boundary.lines == []
        own = psycopg.connect(postgres.url("own"))
        asyncio.run(app())
        assert own.closed
        wait_until(lambda: not postgres.pids("own"))
        boundary.after()
    (line,) = boundary.lines
    assert "was open before the snapshot, is closed now, and cannot be opened again. Call psycopg.connect()" in line


@pytest.mark.parametrize("kind", [psycopg2.pool.SimpleConnectionPool, psycopg2.pool.ThreadedConnectionPool])
def test_a_pool_of_psycopg2_is_emptied(boundary, postgres, kind):
    """It connects at the next use; what is taken out of it, and what no pool owns, is closed with a recipe."""
    pool = kind(3, 5, postgres.url("two"))
    taken = pool.getconn()
    with contextlib.closing(psycopg2.connect(postgres.url("two"))) as own:
        old = postgres.pids("two")
        psycopg2_integration.install()
        boundary.before()
        assert own.closed
        assert taken.closed
        wait_until(lambda: not postgres.pids("two"))
        boundary.after()
    pool.putconn(taken)
    for _ in range(3):
        connection = pool.getconn()
        cursor = connection.cursor()
        cursor.execute(PID)
        assert cursor.fetchone()[0] not in old
        pool.putconn(connection)
    pool.closeall()
    used, line = boundary.lines
    assert "(1 in all) was in use before the snapshot" in used
    assert "cannot be opened again. Call psycopg2.connect() in an after-restore hook" in line


def test_a_pool_of_psycopg2_that_connects_during_the_phase_is_emptied(boundary, postgres):
    """The look at objects that all integrations share was before that: here while psycopg_pool's are emptied."""
    pool = psycopg2.pool.ThreadedConnectionPool(2, 3, postgres.url("since"))

    def connect_anew(_):
        for close in (True, False):
            taken = [pool.getconn() for _ in range(2)]
            for connection in taken:
                pool.putconn(connection, close=close)

    with ConnectionPool(postgres.url("checked"), min_size=1, open=True, check=connect_anew) as checked:
        checked.wait()
        psycopg_pool_integration.install()
        psycopg2_integration.install(pool)
        boundary.before()
        wait_until(lambda: not postgres.pids("since"))
        boundary.after()
    pool.closeall()
    assert boundary.lines == []


def test_an_exhausted_pool_of_psycopg2_fails_nothing(boundary, postgres):
    """Nothing is idle; what is in use is closed and named."""
    pool = psycopg2.pool.ThreadedConnectionPool(1, 1, postgres.url("full"))
    taken = pool.getconn()
    psycopg2_integration.install(pool)
    boundary.before()
    assert taken.closed
    pool.closeall()
    (line,) = boundary.lines
    assert "a connection of the pool a psycopg2.pool.ThreadedConnectionPool (1 in all) was in use" in line


logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it says that connections are given back closed
