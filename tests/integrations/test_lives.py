"""Whole lives under the local Lambda, as the servers see them: apps that never mention snapext, with all integrations.

Connections are open before the snapshot, none while all processes are stopped, and none from before is used after it.
"""

import contextlib
import threading
from pathlib import Path

import psycopg
import pymysql

from lives import simulate

__all__ = ["simulate"]
APPS = Path(__file__).parent / "apps"


class Watch:
    """What a server sees of the app, again and again, in another thread; equal sights follow one another once."""

    def __init__(self, look):
        self._look, self._over = look, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sights = []

    def _run(self):
        with contextlib.closing(self._look()) as sights:
            while not self._over.wait(0.02):
                sight = next(sights)
                if self.sights[-1:] != [sight]:
                    self.sights.append(sight)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def check(self, answered):
        """That what was open before the snapshot is gone in it, and afterwards too. Returns how many those were."""
        first = next(number for number, sight in enumerate(self.sights) if sight & answered)
        before, after = set().union(*self.sights[:first]), set().union(*self.sights[first:])
        assert before
        assert set() in self.sights[1:first], "some were open in the snapshot"
        assert not before & (after | answered)
        return len(before)


def of_postgres(server):
    def look():
        with psycopg.connect(server.url("watching"), autocommit=True) as own:
            while True:
                found = own.execute("select pid from pg_stat_activity where application_name = 'life'").fetchall()
                yield {pid for (pid,) in found}

    return look


def of_mariadb(server):
    def look():
        with contextlib.closing(pymysql.connect(host="127.0.0.1", port=server.port, user="watching")) as own:
            while True:
                cursor = own.cursor()
                cursor.execute("select id from information_schema.processlist where user = 'life'")
                yield {pid for (pid,) in cursor.fetchall()}

    return look


def test_threads_that_serve_have_fresh_connections(simulate, postgres):
    """Django's and a scoped session's, in each thread of two workers of gunicorn: no hook runs in these threads."""
    command = "gunicorn -w 2 -k gthread --threads 2 -b 127.0.0.1:{port} --chdir " + str(APPS)
    with Watch(of_postgres(postgres)) as watch:
        life = simulate(
            f"{command} threads_django:application",
            *("--freeze", "1", *["--request", "/"] * 3),
            SNAPEXT_INTEGRATIONS="auto",
            POSTGRES_PORT=str(postgres.port),
        )
    assert life.status == 0, life.stderr
    after = {pid for answer in life.answers() for pid in answer["pids"]}
    assert watch.check(after) >= 8  # two workers, two threads, two connections
    assert postgres.pids("life") == set()


def test_a_loop_has_fresh_pools(simulate, postgres, mariadb):
    """asyncpg, psycopg_pool, aiomysql and an async engine, on a loop that nobody has bound; and sync endpoints."""
    with Watch(of_postgres(postgres)) as watch, Watch(of_mariadb(mariadb)) as watch_mariadb:
        life = simulate(
            "uvicorn --port {port} --app-dir " + str(APPS) + " loop_fastapi:app",
            *("--freeze", "1", "--request", "/loop", "--request", "/thread", "--request", "/loop"),
            SNAPEXT_INTEGRATIONS="auto",
            POSTGRES_PORT=str(postgres.port),
            MARIADB_PORT=str(mariadb.port),
        )
    assert life.status == 0, life.stderr
    for kind, seen in (("pids", watch), ("ids", watch_mariadb)):
        after = {pid for answer in life.answers() for pid in answer[kind]}
        seen.check(after)
    (line,) = [line for line in life.stderr.splitlines() if "snapext: process" in line]
    assert "the open transaction of some Session is rolled back" in line  # nobody removes that of the thread
