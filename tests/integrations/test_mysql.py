"""PyMySQL and aiomysql with a real MariaDB."""

import asyncio
import contextlib

import aiomysql
import pymysql

import snapext
from helpers import wait_until
from snapext.integrations import aiomysql as aiomysql_integration
from snapext.integrations import pymysql as pymysql_integration

ID = "select connection_id()"


def test_a_connection_is_opened_again_in_place(boundary, mariadb):
    """With its settings; one that the app has closed stays closed."""

    def connect():
        return pymysql.connect(host="127.0.0.1", port=mariadb.port, user="plain", autocommit=True)

    closed = connect()
    closed.close()
    with contextlib.closing(connect()) as connection:
        old = connection.thread_id()
        for _ in range(2):
            pymysql_integration.install()
        boundary.before()
        assert not connection.open
        wait_until(lambda: not mariadb.pids("plain"))
        boundary.after()
        cursor = connection.cursor()
        cursor.execute(ID)
        assert cursor.fetchone()[0] != old
        assert connection.get_autocommit()
        assert len(mariadb.pids("plain")) == 1
    assert not closed.open


def test_an_async_pool_is_emptied_and_connects_after_the_restore(boundary, mariadb):
    """A connection that is taken out of it, or that no pool owns, is opened again in place."""
    options = {"host": "127.0.0.1", "port": mariadb.port, "user": "waiting"}

    async def number(connection):
        async with connection.cursor() as cursor:
            await cursor.execute(ID)
            return (await cursor.fetchone())[0]

    async def app():
        async with aiomysql.create_pool(minsize=2, maxsize=3, **options) as pool:
            own, taken = await aiomysql.connect(**options), await pool.acquire()
            old = mariadb.pids("waiting")
            assert len(old) == 3
            snapext.install_all()
            await asyncio.to_thread(boundary.before)
            wait_until(lambda: not mariadb.pids("waiting"))
            await asyncio.to_thread(boundary.after)
            assert not {await number(own), await number(taken)} & old
            pool.release(taken)
            own.close()
            async with pool.acquire() as first, pool.acquire() as second:
                assert not {await number(first), await number(second)} & old

    asyncio.run(app())
    assert boundary.lines == []


def test_a_transaction_that_is_lost_is_named(boundary, mariadb):
    """Its connection is opened again, and goes on without it."""
    options = {"host": "127.0.0.1", "port": mariadb.port, "user": "writing"}

    async def app():
        own = await aiomysql.connect(**options)
        await own.begin()
        snapext.install_all()
        await asyncio.to_thread(boundary.before)
        wait_until(lambda: not mariadb.pids("writing"))
        await asyncio.to_thread(boundary.after)
        own.close()

    with contextlib.closing(pymysql.connect(**options)) as connection:
        connection.begin()
        asyncio.run(app())
        assert connection.open
    assert len(boundary.lines) == 2
    assert all("a transaction that was open is rolled back. It is opened again" in line for line in boundary.lines)


def test_closed_ones_are_left_closed(boundary, mariadb):
    """Also one that was given by name."""

    async def app():
        connection = await aiomysql.connect(host="127.0.0.1", port=mariadb.port, user="gone")
        connection.close()
        aiomysql_integration.install(connection)
        await asyncio.to_thread(boundary.before)
        await asyncio.to_thread(boundary.after)
        assert connection.closed

    asyncio.run(app())
