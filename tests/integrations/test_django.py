"""Django with a real PostgreSQL: the connections of all threads, of async tasks, and its pools."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import django
import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import OperationalError, connections, transaction

import snapext
from helpers import wait_until
from snapext.integrations import django as integration
from snapext.integrations import patience

closed_caches = []


class Cache(LocMemCache):
    def close(self, **_):
        closed_caches.append(self)


@pytest.fixture(scope="module")
def databases(postgres):
    """One without a pool, one with one, and SQLite in memory."""
    common = {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": "127.0.0.1"}

    def database(name, **options):
        return common | {
            "PORT": str(postgres.port),
            "OPTIONS": {"application_name": name} | options,
            "CONN_MAX_AGE": None,
        }

    settings.configure(
        DATABASES={
            "default": database("plain"),
            "pooled": database("pooled", pool={"min_size": 1, "max_size": 4}) | {"CONN_MAX_AGE": 0},
            "memory": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        },
        CACHES={"default": {"BACKEND": f"{__name__}.Cache"}},
    )
    django.setup()
    yield
    connections.close_all()


def pid(alias="default"):
    with connections[alias].cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        return cursor.fetchone()[0]


class Worker:
    """A thread that serves, and keeps its connection (CONN_MAX_AGE=None)."""

    def __init__(self, alias="default"):
        self.pids = []
        self._alias = alias
        self._asked = [threading.Event() for _ in range(2)]
        self._answered = [threading.Event() for _ in range(2)]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        for asked, answered in zip(self._asked, self._answered, strict=True):
            asked.wait(20)
            try:
                self.pids.append(pid(self._alias))
            finally:
                answered.set()
        connections.close_all()

    def ask(self, number):
        self._asked[number].set()
        assert self._answered[number].wait(20)
        return self.pids[number]

    def end(self):
        self._thread.join()


def test_the_connections_of_all_threads_and_tasks_are_closed(boundary, postgres, databases):
    """`connections.close_all()` in a hook closes those of one thread. Each thread connects again when it has to."""

    async def app():
        old = {pid(), await sync_to_async(pid)()} | {worker.ask(0) for worker in workers}
        assert len(old) == 4
        await asyncio.to_thread(boundary.before)
        wait_until(lambda: not postgres.pids("plain"))
        await asyncio.to_thread(boundary.after)
        assert postgres.pids("plain") == set()
        assert not ({pid(), await sync_to_async(pid)()} | {worker.ask(1) for worker in workers}) & old
        await asyncio.to_thread(boundary.before)  # it closes what this test has opened, too

    workers, cache = [Worker(), Worker()], caches["default"]
    snapext.install_all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        asyncio.run(app())
        connections.close_all()
    for worker in workers:
        worker.end()
    assert boundary.lines == []
    assert cache in closed_caches


def test_what_is_opened_before_the_snapshot_is_closed_after_it(boundary, postgres, databases):
    """A request came when all were closed already."""
    worker = Worker()
    integration.install()
    boundary.before()
    stale = {worker.ask(0), pid()}
    boundary.after()
    wait_until(lambda: not postgres.pids("plain"))
    assert not {worker.ask(1), pid()} & stale
    worker.end()
    connections.close_all()


def test_a_pool_of_django_is_closed_and_made_again(boundary, postgres, databases):
    """Also while a thread has a connection of it."""
    worker = Worker("pooled")
    old = {worker.ask(0), pid("pooled")}
    connections["pooled"].close()
    snapext.install_all()
    boundary.before()
    wait_until(lambda: not postgres.pids("pooled"))
    boundary.after()
    assert not {worker.ask(1), pid("pooled")} & old
    worker.end()
    connections["pooled"].close()
    connections["pooled"].close_pool()
    assert boundary.lines == []


def test_a_transaction_that_is_lost_is_named(boundary, postgres, databases):
    """It belongs to work in the background."""

    def work():
        with transaction.atomic():
            pid()
            boundary.before()
            pid()

    integration.install()
    with pytest.raises(OperationalError):
        work()
    boundary.after()
    (line,) = boundary.lines
    assert "an open transaction of the database 'default' (atomic) is rolled back" in line
    connections.close_all()


def test_a_transaction_that_ends_is_waited_for(boundary, postgres, databases, monkeypatch):
    """Whether a query runs in it when we look, or it is between its last query and its commit."""
    monkeypatch.setattr(patience, "WAIT_S", 20)
    monkeypatch.setattr(patience, "SETTLE_S", 20)
    begun, may_commit = threading.Barrier(3), threading.Event()

    def work(query):
        with transaction.atomic():
            pid()
            begun.wait(20)
            if query:
                with connections["default"].cursor() as cursor:
                    cursor.execute(query)
            else:
                may_commit.wait(20)
        connections.close_all()

    timer = threading.Timer(0.2, may_commit.set)  # some looks later; sooner or later makes no difference
    with ThreadPoolExecutor() as pool:
        works = [pool.submit(work, query) for query in ("", "select pg_sleep(0.3)")]
        begun.wait(20)
        integration.install()
        timer.start()
        boundary.before()
        boundary.after()
        assert [work.result() for work in works] == [None, None]
    assert boundary.lines == []


def test_a_query_that_does_not_end_is_interrupted_and_named(boundary, postgres, databases):
    """Of work in the background, outside of a transaction."""
    query, errors = "select pg_sleep(60)", []

    def work():
        try:
            with connections["default"].cursor() as cursor:
                cursor.execute(query)
        except OperationalError as error:
            errors.append(error)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: postgres.running("plain", query))
    integration.install()
    boundary.before()
    thread.join()
    boundary.after()
    (line,) = boundary.lines
    assert "a connection of the database 'default' was in use before the snapshot" in line
    assert len(errors) == 1


def test_a_database_in_memory_is_kept(boundary, databases):
    """As Django itself keeps it."""
    with connections["memory"].cursor() as cursor:
        cursor.execute("create table t (n int)")
    integration.install()
    boundary.before()
    boundary.after()
    with connections["memory"].cursor() as cursor:
        cursor.execute("select count(*) from t")
        assert cursor.fetchone() == (0,)
