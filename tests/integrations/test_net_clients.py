"""Single clients, each given to its integration, with real servers: what is closed, and what stays as it is."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import aioboto3
import aiohttp
import boto3
import httpx
import pytest
import redis
import redis.asyncio
import redis.cluster
import redis.sentinel
import requests
import requests.adapters
import urllib3
from aiohttp.client_proto import ResponseHandler
from botocore.credentials import Credentials, RefreshableCredentials
from net_servers import free_port, http_server, redis_server
from watched import Watched

from helpers import wait_until
from snapext.guest import notice
from snapext.integrations import aioboto3 as for_aioboto3
from snapext.integrations import aiohttp as for_aiohttp
from snapext.integrations import boto3 as for_boto3
from snapext.integrations import httpx as for_httpx
from snapext.integrations import reach, table
from snapext.integrations import redis as for_redis
from snapext.integrations import requests as for_requests
from snapext.integrations import urllib3 as for_urllib3


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def http_port():
    with http_server() as port:
        yield port


@pytest.fixture
def watch():
    """Connections to a server are counted from now on, until the test ends."""
    all_watched = []

    def start(port):
        all_watched.append(Watched(port))
        return all_watched[-1]

    yield start
    for each in all_watched:
        each.close()


@pytest.fixture
def lines(monkeypatch):
    """What is said on standard error."""
    said = []
    monkeypatch.setattr(notice, "_say", lambda line: said.append(line) or True)
    monkeypatch.setattr(notice, "_said", set())
    return said


def test_sync_clients_that_are_given(snapstart, watch, http_port, redis_port):
    """Each closes its connections before the snapshot and those made since after the restore; others stay open."""
    watched = {name: watch(redis_port if name == "redis" else http_port) for name in ("requests", "httpx", "redis")}
    watched |= {name: watch(http_port) for name in ("manager", "pool", "other")}
    urls = {name: f"http://127.0.0.1:{each.port}/" for name, each in watched.items()}
    session, other = requests.Session(), requests.Session()
    client = httpx.Client()
    manager = urllib3.PoolManager()
    pool = urllib3.HTTPConnectionPool("127.0.0.1", watched["pool"].port)
    store = redis.Redis(port=watched["redis"].port)

    def use():
        assert session.get(urls["requests"]).ok
        assert other.get(urls["other"]).ok
        assert client.get(urls["httpx"]).is_success
        assert manager.request("GET", urls["manager"]).status == 200
        assert pool.request("GET", "/").status == 200
        assert store.ping()

    use()
    for_requests.install(session)
    for_httpx.install(client)
    for_urllib3.install(manager)
    for_urllib3.install(pool)
    for_redis.install(store)

    snapstart.before_snapshot()
    assert watched.pop("other").open == 1
    assert {name: each.wait_closed() for name, each in watched.items()} == dict.fromkeys(watched, 1)
    use()
    assert {name: each.open for name, each in watched.items()} == dict.fromkeys(watched, 1)
    snapstart.after_restore()
    assert {name: each.wait_closed() for name, each in watched.items()} == dict.fromkeys(watched, 2)
    use()
    assert {name: len(each.connections) for name, each in watched.items()} == dict.fromkeys(watched, 3)
    for each in (session, other, client, store):
        each.close()
    manager.clear()
    pool.close()


def test_async_clients_that_are_given(snapstart, watch, http_port, redis_port, lines):
    """On the loop of the app."""
    watched = {
        "httpx": watch(http_port),
        "aiohttp": watch(http_port),
        "redis": watch(redis_port),
        "other": watch(http_port),
    }

    async def main():
        store = redis.asyncio.Redis(port=watched["redis"].port)
        async with httpx.AsyncClient() as client, aiohttp.ClientSession() as session, aiohttp.ClientSession() as other:

            async def use():
                assert (await client.get(f"http://127.0.0.1:{watched['httpx'].port}/")).is_success
                for one, name in ((session, "aiohttp"), (other, "other")):
                    async with one.post(f"http://127.0.0.1:{watched[name].port}/") as response:
                        assert await response.read()
                assert await store.ping()

            async def closed(count):
                for name in ("httpx", "aiohttp", "redis"):
                    assert await asyncio.to_thread(watched[name].wait_closed) == count

            await use()
            for_httpx.install(client)
            for_aiohttp.install(session)
            for_redis.install(store)

            await snapstart.abefore_snapshot()
            await closed(1)
            assert watched["other"].open == 1
            given = {for_redis._REDIS: store, for_httpx._HTTPX: client, for_aiohttp._AIOHTTP: session}
            for integration, thing in given.items():
                assert integration.after_restore(thing) is None, "the restore waits for no turn of the loop"
            await use()
            await snapstart.aafter_restore()
            await closed(2)
            await use()
            counts = {name: len(each.connections) for name, each in watched.items()}
            assert counts == {"httpx": 3, "aiohttp": 3, "redis": 3, "other": 1}
        await store.aclose()

    asyncio.run(main())
    assert lines == []


def test_a_subscription_begins_anew(snapstart, watch, redis_port):
    """Its thread connects again at once, so before the snapshot as well: that connection ends after the restore."""
    watched = watch(redis_port)
    store = redis.Redis(port=watched.port)
    heard = []
    subscription = store.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(news=heard.append)
    thread = subscription.run_in_thread(sleep_time=1, exception_handler=lambda *_: None)
    for_redis.install(store)
    try:
        wait_until(lambda: watched.open == 1)
        snapstart.before_snapshot()
        wait_until(lambda: len(watched.connections) == 2 and watched.connections[1].received)
        assert watched.connections[0].closed
        snapstart.after_restore()
        wait_until(lambda: len(watched.connections) == 3 and watched.connections[1].closed)
        with redis.Redis(port=redis_port) as sender:
            wait_until(lambda: sender.publish("news", "restored"))
        wait_until(lambda: heard)
        assert heard[0]["data"] == b"restored"
    finally:
        thread.stop()
        thread.join()
        store.close()


def test_clusters_and_sentinels(snapstart, tmp_path):
    """Their nodes' connections are closed; each finds its nodes when it is used next."""
    for folder in ("node", "sentinel"):
        (tmp_path / folder).mkdir()
    with redis_server(tmp_path / "node", "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as node_port:
        node = redis.Redis(port=node_port, decode_responses=True)
        assert node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: node.cluster("INFO")["cluster_state"] == "ok")
        config = tmp_path / "sentinel" / "sentinel.conf"
        config.write_text(f"sentinel monitor main 127.0.0.1 {node_port} 1\n")
        with redis_server(tmp_path / "sentinel", str(config), "--sentinel") as sentinel_port:
            _cluster_and_sentinel(snapstart, node, node_port, sentinel_port)
        node.close()


def _cluster_and_sentinel(snapstart, node, node_port, sentinel_port):
    def names(client):
        return {each["name"] for each in client.client_list()} - {""}

    watcher = redis.Redis(port=sentinel_port, decode_responses=True)
    cluster = redis.cluster.RedisCluster(host="127.0.0.1", port=node_port, client_name="sync")
    sentinel = redis.sentinel.Sentinel([("127.0.0.1", sentinel_port)], sentinel_kwargs={"client_name": "sentinel"})
    main = sentinel.master_for("main", client_name="main")

    async def life():
        async_cluster = redis.asyncio.RedisCluster(host="127.0.0.1", port=node_port, client_name="async")

        async def use():
            assert cluster.set("a", 1)
            assert main.set("b", 1)
            assert await async_cluster.set("c", 1)

        await use()
        in_use = {"sync", "async", "main"}
        assert in_use <= names(node)
        assert names(watcher) == {"sentinel"}
        for thing in (cluster, async_cluster, sentinel, main):
            for_redis.install(thing)
        await snapstart.abefore_snapshot()
        await asyncio.to_thread(wait_until, lambda: not names(node) & in_use)
        await asyncio.to_thread(wait_until, lambda: not names(watcher))
        await use()
        await snapstart.aafter_restore()
        await use()
        assert in_use <= names(node)
        await async_cluster.aclose()

    asyncio.run(life())
    for client in (cluster, main, watcher, *sentinel.sentinels):
        client.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_connections_of_a_loop_that_has_ended_are_named(snapstart, lines, http_port, redis_port):
    """Nobody can close them, and the boundary goes on: they are of no use to the app either."""

    async def connect():
        store = redis.asyncio.Redis(port=redis_port)
        client, session = httpx.AsyncClient(), aiohttp.ClientSession()
        await store.ping()
        await client.get(f"http://127.0.0.1:{http_port}/")
        async with session.get(f"http://127.0.0.1:{http_port}/") as response:
            await response.read()
        return store, client, session

    store, client, session = asyncio.run(connect())
    for_redis.install(store)
    for_httpx.install(client)
    for_aiohttp.install(session)

    snapstart.before_snapshot()

    assert sorted(line.split(": ")[2] for line in lines) == ["aiohttp", "httpx", "redis"]
    assert all("event loop that has ended" in line and "on the loop of the app" in line for line in lines)
    del store, client, session
    gc.collect()  # here, where their warnings are ignored


def test_temporary_credentials_that_nothing_renews_are_named(snapstart, lines):
    """By their source. Keys that do not expire, and those of a role, need nothing."""
    expiry = time.strftime("%FT%TZ", time.gmtime(time.time() + 3600))
    of_a_role = RefreshableCredentials.create_from_metadata(
        {
            "access_key": "ASIA1",
            "secret_key": "s",
            "token": "t",
            "expiry_time": expiry,
        },
        refresh_using=lambda: pytest.fail("renewed too early"),
        method="container-role",
    )
    for credentials in (of_a_role, Credentials("AKIA1", "s", None, "env")):
        for_boto3.install(credentials)
    snapstart.before_snapshot()
    assert lines == []

    frozen = Credentials("ASIA1234", "hidden", "hidden", "env")
    for_boto3.install(frozen)
    snapstart.before_snapshot()
    (line,) = lines
    assert "temporary credentials of the source 'env' (ASIA…)" in line
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in line
    assert "hidden" not in line


def test_a_client_and_a_resource_of_boto3_that_are_given(snapstart, watch, http_port):
    """Each closes its connections."""
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
    watched = watch(http_port)
    url = f"http://127.0.0.1:{watched.port}"
    things = [kind("s3", endpoint_url=url, **keys) for kind in (boto3.client, boto3.resource)]
    for thing in things:
        getattr(thing.meta, "client", thing).head_bucket(Bucket="b")
        for_boto3.install(thing)
    assert watched.open == 2

    snapstart.before_snapshot()

    assert watched.wait_closed() == 2
    for thing in things:
        getattr(thing.meta, "client", thing).head_bucket(Bucket="b")
    snapstart.after_restore()
    assert watched.wait_closed() == 4


def test_all_clients_of_aioboto3(snapstart, watch, http_port, lines, monkeypatch):
    """Their connections are closed when the hook ends, not later; temporary keys are named as in boto3."""
    monkeypatch.setattr(table, "attended", set())
    monkeypatch.setattr(for_aioboto3, "_AIOBOTO3", type(for_aioboto3._AIOBOTO3)(for_aioboto3.__name__))
    keys = {"aws_access_key_id": "ASIA1234", "aws_secret_access_key": "b", "region_name": "eu-west-1"}
    watched = watch(http_port)

    async def main():
        session = aioboto3.Session(aws_session_token="hidden", **keys)
        url = f"http://127.0.0.1:{watched.port}"
        async with session.client("s3", endpoint_url=url) as client, aiohttp.ClientSession() as other:
            await client.head_bucket(Bucket="b")
            async with other.get(url) as response:
                await response.read()
            (connection,) = reach.held_by(other, (ResponseHandler,), ("aiohttp",))
            own_end = connection.transport.get_extra_info("socket")
            for_aioboto3.install(client)
            await snapstart.abefore_snapshot()
            assert own_end.fileno() == -1
            assert await asyncio.to_thread(watched.wait_closed) == 2
            await client.head_bucket(Bucket="b")
            await snapstart.aafter_restore()
            assert await asyncio.to_thread(watched.wait_closed) == 3
            await client.head_bucket(Bucket="b")

    asyncio.run(main())
    (line,) = lines
    assert "aioboto3: temporary credentials of the source 'explicit' (ASIA…)" in line


def test_what_an_object_holds_ends_at_its_library():
    """It is found through containers; what belongs to the app is not looked into."""
    session, app = requests.Session(), type("App", (), {})()
    app.session = requests.Session()
    session.hooks["response"] = [app]

    held = reach.held_by(session, (requests.adapters.HTTPAdapter,), ("requests",))

    assert held == list(session.adapters.values())


def test_a_name_is_that_of_a_global(monkeypatch):
    """Or the class, where no module has it."""
    thing = threading.Event()
    assert reach.name_of(thing) == "a threading.Event"
    monkeypatch.setattr("helpers.THING", thing, raising=False)
    assert reach.name_of(thing) == "helpers.THING"
