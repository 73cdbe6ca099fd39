"""A client of PyMongo cannot be renewed: what is said of one that is open, and the hooks that do it instead."""

from __future__ import annotations

import asyncio

import pymongo
import pytest
from mongo_wire import mongo_server
from watched import Watched

from snapext import register_after_restore, register_before_snapshot
from snapext.guest import notice
from snapext.integrations import pymongo as for_pymongo

holder: list[pymongo.MongoClient] = []
client: pymongo.MongoClient | None = None


@pytest.fixture
def lines(monkeypatch):
    """What is said on standard error."""
    said = []
    monkeypatch.setattr(notice, "_say", lambda line: said.append(line) or True)
    monkeypatch.setattr(notice, "_said", set())
    return said


def test_each_open_client_is_named_with_what_to_do_and_stays_open(snapstart, lines):
    """By the global that holds it, and by its server; a client that has never connected is none."""
    global client
    with (
        mongo_server() as port,
        pymongo.MongoClient("127.0.0.1", port) as client,
        mongo_server() as other_port,
        pymongo.MongoClient("127.0.0.1", other_port) as other,
        pymongo.MongoClient(connect=False) as idle,
    ):
        for each in (idle, client, other):
            for_pymongo.install(each)
        for each in (client, other):
            each.admin.command("ping")

        snapstart.run()

        assert client.admin.command("ping")["ok"] == 1
    line, line_of_other = lines
    assert f"pymongo: test_pymongo.client is connected to 127.0.0.1:{port} in the snapshot" in line
    assert "Call its close() in a before-snapshot hook, and make a new MongoClient" in line
    assert f"MongoClient is connected to 127.0.0.1:{other_port} in" in line_of_other
    client = None


def test_the_recipe_leaves_no_connection_and_nothing_to_say(snapstart, lines):
    """The integration looks when the hooks of the app have run, wherever it was installed."""
    with mongo_server() as port:
        watched = Watched(port)
        holder.append(pymongo.MongoClient("127.0.0.1", watched.port))

        @register_before_snapshot
        def close():
            holder[0].close()

        @register_after_restore
        def connect():
            holder[0] = pymongo.MongoClient("127.0.0.1", watched.port)

        for_pymongo.install(holder[0])
        holder[0].admin.command("ping")

        snapstart.before_snapshot()
        before = watched.wait_closed()
        assert before >= 2  # one of the pool, one of the monitor
        snapstart.after_restore()
        assert holder[0].admin.command("ping")["ok"] == 1
        assert len(watched.connections) > before

        holder.pop().close()
        watched.close()
    assert lines == []


def test_an_async_client_is_named(snapstart, lines):
    """The same words."""

    async def main(port):
        async with pymongo.AsyncMongoClient("127.0.0.1", port) as its:
            await its.admin.command("ping")
            for_pymongo.install(its)
            await snapstart.abefore_snapshot()

    with mongo_server() as port:
        asyncio.run(main(port))
    (line,) = lines
    assert f"AsyncMongoClient is connected to 127.0.0.1:{port}" in line
