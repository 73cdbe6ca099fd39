"""SQLAlchemy with a real PostgreSQL and MariaDB, and with SQLite."""

import asyncio
import gc
import threading

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker
from sqlalchemy.pool import NullPool, QueuePool, StaticPool

import snapext
from helpers import wait_until
from snapext.integrations import patience
from snapext.integrations import sqlalchemy as integration

PID = text("select pg_backend_pid()")


FORGOTTEN = pytest.mark.filterwarnings("ignore::ResourceWarning")
"""What has been opened between the hook and the snapshot is left to the garbage collector, as after a fork."""


@FORGOTTEN
@pytest.mark.parametrize("pool", [QueuePool, NullPool, StaticPool])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_engine_has_no_connection_in_the_snapshot(boundary, postgres, driver, pool):
    """What it opens between the hook and the snapshot is not used after the restore."""
    name = f"{driver}{pool.__name__}"
    engine = create_engine(postgres.url(name, driver), poolclass=pool)
    with engine.connect() as connection:
        old = {connection.scalar(PID)}
    for _ in range(2):
        integration.install()
    boundary.before()
    wait_until(lambda: not postgres.pids(name))
    with engine.connect() as connection:
        old |= {connection.scalar(PID)}
    boundary.after()
    with engine.connect() as connection:
        assert connection.scalar(PID) not in old
    engine.dispose()
    gc.collect()  # what was forgotten is closed with its pool
    wait_until(lambda: not postgres.pids(name))
    assert boundary.lines == []


def test_a_session_of_another_thread_connects_anew(boundary, postgres):
    """`scoped_session.remove()` in a hook would reach that of the hook's own thread alone."""
    engine = create_engine(postgres.url("scoped", "psycopg"))
    sessions = scoped_session(sessionmaker(engine))
    snapshot, restored = threading.Event(), threading.Event()
    seen, in_transaction = [], []

    def serve():
        seen.append(sessions.scalar(PID))  # and no remove(): the session keeps its connection
        snapshot.set()
        restored.wait(20)
        in_transaction.append(sessions().in_transaction())
        seen.append(sessions.scalar(PID))
        sessions.remove()

    worker = threading.Thread(target=serve)
    worker.start()
    assert snapshot.wait(20)
    plain = engine.connect()
    old = {seen[0], plain.scalar(PID)}
    snapext.install_all()
    boundary.before()
    wait_until(lambda: not postgres.pids("scoped"))
    boundary.after()
    restored.set()
    worker.join()
    assert not {seen[1], plain.scalar(PID)} & old
    assert in_transaction == [False]  # one that is lost must not look as if it went on
    plain.close()
    engine.dispose()
    wait_until(lambda: not postgres.pids("scoped"))
    kinds = [line.partition("open transaction of some ")[2].partition(" is rolled back")[0] for line in boundary.lines]
    assert sorted(kinds) == ["Connection", "Session"]


@pytest.mark.parametrize("pool", [None, StaticPool])
def test_a_database_in_memory_is_kept(boundary, pool):
    """SQLite has no server: its data is in the snapshot, and an open transaction too."""
    engine = create_engine("sqlite://", poolclass=pool)
    with engine.begin() as connection:
        connection.execute(text("create table t (n int)"))
    connection, session = engine.connect(), sessionmaker(engine)()
    session.execute(text("insert into t values (1)"))
    integration.install()
    boundary.before()
    boundary.after()
    assert session.scalar(text("select count(*) from t")) == 1
    session.close()
    connection.close()
    engine.dispose()


@FORGOTTEN
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_async_engine_is_disposed_of_on_its_loop(boundary, postgres, driver):
    """With a session and a connection that the app keeps, in the middle of a transaction."""
    name = f"async{driver}"

    async def app():
        url, _, _ = postgres.url(name, driver).partition("?")
        named = {"application_name": name}
        engine = create_async_engine(url, connect_args={"server_settings": named} if driver == "asyncpg" else named)
        session, connection = async_sessionmaker(engine)(), await engine.connect()
        async with engine.connect() as idle:
            old = {await session.scalar(PID), await connection.scalar(PID), await idle.scalar(PID)}
        assert postgres.pids(name) == old
        integration.install()
        await asyncio.to_thread(boundary.before)
        wait_until(lambda: not postgres.pids(name))
        async with engine.connect() as late:
            old |= {await late.scalar(PID)}
        await asyncio.to_thread(boundary.after)
        async with engine.connect() as idle:
            assert not {await session.scalar(PID), await connection.scalar(PID), await idle.scalar(PID)} & old
        await session.close()
        await connection.close()
        await engine.dispose()

    asyncio.run(app())
    gc.collect()
    kinds = [line.partition("open transaction of some ")[2].partition(" is rolled back")[0] for line in boundary.lines]
    assert sorted(kinds) == ["AsyncConnection", "AsyncSession"]


def kind_of_line(line):
    """Work that has failed may have rolled back by itself when we look at its transaction."""
    said = ("of some Connection", "of some Session", "of some AsyncConnection", "of some AsyncSession")
    lost = ("is rolled back before the snapshot", "was in use before the snapshot, by work in the background")
    return "lost" if any(one in line for one in said) and any(one in line for one in lost) else line


def wait_to_the_end(monkeypatch):
    """Of work whose query may have ended when we look, while its transaction is open for a moment."""
    monkeypatch.setattr(patience, "WAIT_S", 20)
    monkeypatch.setattr(patience, "SETTLE_S", 20)


def test_work_between_its_last_query_and_its_commit_gets_a_moment(boundary, postgres, monkeypatch):
    """In a thread and in a task, in a transaction in which no query runs when we look."""
    wait_to_the_end(monkeypatch)
    name = "between"
    engine, may_commit, between = create_engine(postgres.url(name, "psycopg")), threading.Event(), threading.Event()

    def work():
        with engine.begin() as connection:
            connection.execute(PID)
            between.set()
            may_commit.wait(20)

    async def app():
        at, _, _ = postgres.url(name, "asyncpg").partition("?")
        async_engine = create_async_engine(at, connect_args={"server_settings": {"application_name": name}})

        async def task():
            async with async_engine.begin() as connection:
                await connection.execute(PID)
                await asyncio.to_thread(between.wait, 20)
                begun.set()
                await asyncio.to_thread(may_commit.wait, 20)

        begun = asyncio.Event()
        works = [asyncio.to_thread(work), task()]
        both = asyncio.gather(*works)
        await begun.wait()
        integration.install()
        timer = threading.Timer(0.2, may_commit.set)  # some looks later; sooner or later makes no difference
        timer.start()
        await asyncio.to_thread(boundary.before)
        await both
        await asyncio.to_thread(wait_until, lambda: not postgres.pids(name))
        await asyncio.to_thread(boundary.after)
        await async_engine.dispose()

    asyncio.run(app())
    engine.dispose()
    assert boundary.lines == []


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_query_that_runs_is_waited_for_or_interrupted(boundary, postgres, blocked, monkeypatch, driver, ends):
    """By a session and by a connection, in threads in the background: closing would wait for its end."""
    if ends:
        wait_to_the_end(monkeypatch)
    name = f"run{driver}"
    engine, errors = create_engine(postgres.url(name, driver)), []

    def work(begin):
        try:
            with begin() as connection:
                connection.execute(text(blocked.query))
        except OperationalError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(one.begin,)) for one in (engine, sessionmaker(engine))]
    for thread in threads:
        thread.start()
    wait_until(lambda: postgres.running(name, blocked.query) == 2)
    snapext.install_all()
    if ends:
        blocked.let_go_soon()
    boundary.before()
    wait_until(lambda: not postgres.pids(name))
    boundary.after()
    for thread in threads:
        thread.join()
    engine.dispose()
    assert len(errors) == (0 if ends else 2)
    assert [*map(kind_of_line, boundary.lines)] == ["lost"] * len(errors)


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_an_async_query_that_runs_is_waited_for_or_interrupted(boundary, postgres, blocked, monkeypatch, driver, ends):
    """In tasks in the background."""
    if ends:
        wait_to_the_end(monkeypatch)
    name = f"arun{driver}"

    async def work(begin):
        async with begin() as connection:
            await connection.execute(text(blocked.query))

    async def app():
        url, _, _ = postgres.url(name, driver).partition("?")
        named = {"application_name": name}
        engine = create_async_engine(url, connect_args={"server_settings": named} if driver == "asyncpg" else named)
        tasks = [asyncio.create_task(work(one.begin)) for one in (engine, async_sessionmaker(engine))]
        await asyncio.to_thread(wait_until, lambda: postgres.running(name, blocked.query) == 2)
        snapext.install_all()
        if ends:
            blocked.let_go_soon()
        await asyncio.to_thread(boundary.before)
        await asyncio.to_thread(wait_until, lambda: not postgres.pids(name))
        await asyncio.to_thread(boundary.after)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await engine.dispose()
        return results

    results = asyncio.run(app())
    assert [isinstance(result, DBAPIError) for result in results] == [not ends] * 2
    assert [*map(kind_of_line, boundary.lines)] == ["lost"] * (0 if ends else 2)


def test_engines_of_mariadb_sync_and_async(boundary, mariadb):
    """With everything installed, the drivers' own integrations find nothing left to do."""
    number = text("select connection_id()")

    async def app():
        at = f"maria@127.0.0.1:{mariadb.port}/information_schema"
        engine, async_engine = create_engine(f"mysql+pymysql://{at}"), create_async_engine(f"mysql+aiomysql://{at}")
        with engine.connect() as connection:
            old = {connection.scalar(number)}
        async with async_engine.connect() as connection:
            old |= {await connection.scalar(number)}
        snapext.install_all()
        await asyncio.to_thread(boundary.before)
        wait_until(lambda: not mariadb.pids("maria"))
        await asyncio.to_thread(boundary.after)
        assert mariadb.pids("maria") == set()
        with engine.connect() as connection:
            assert connection.scalar(number) not in old
        async with async_engine.connect() as connection:
            assert await connection.scalar(number) not in old
        engine.dispose()
        await async_engine.dispose()

    asyncio.run(app())
    assert boundary.lines == []


def test_one_engine_alone(boundary, postgres):
    """Sync or async: what was not given is not touched."""
    engine, other = (create_engine(postgres.url(name, "psycopg")) for name in ("one", "other"))
    for each in (engine, other):
        with each.connect():
            pass
    integration.install(engine)
    boundary.before()
    wait_until(lambda: not postgres.pids("one"))
    assert postgres.pids("other")
    other.dispose()
