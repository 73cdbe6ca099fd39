"""Clients of Redis, HTTP and AWS across a snapshot, with real servers."""

from __future__ import annotations

import json
from contextlib import ExitStack

from net_life import live
from net_servers import aws, http_server, redis_server
from watched import Watched

WORKERS = 2
SERVERS = {
    "redis": "redis redis_aio",
    "http": "requests urllib3 pool httpx httpx_aio aiohttp",
    "aws": "boto3 aioboto3",
}


def test_connections_end_before_the_snapshot_and_the_next_request_opens_others(tmp_path):
    """In each worker, for each library, with one variable set and no line of code."""
    with ExitStack() as stack:
        ports = {
            "redis": stack.enter_context(redis_server(tmp_path)),
            "http": stack.enter_context(http_server()),
            "aws": stack.enter_context(aws()),
        }
        watched = {name: Watched(ports[server]) for server, names in SERVERS.items() for name in names.split()}
        for each in watched.values():
            stack.callback(each.close)
        seen = {}

        def at(event):
            if event == "snapshot":
                seen[event] = {name: each.wait_closed() for name, each in watched.items()}
            elif event in ("restore", "ready"):
                seen[event] = {name: each.count() for name, each in watched.items()}

        document, lines = live(
            "net_app:app",
            at,
            workers=WORKERS,
            requests=("/use", "/use"),
            SNAPEXT_INTEGRATIONS="auto",
            PORTS=json.dumps({name: each.port for name, each in watched.items()}),
        )

        assert document["errors"] == [], lines
        assert document["ok"], lines
        assert seen["snapshot"] == dict.fromkeys(watched, WORKERS)
        assert seen["restore"] == seen["snapshot"], "nobody connects while the snapshot is taken"
        assert seen["ready"] == dict.fromkeys(watched, 2 * WORKERS), "the app's own hook has used each client once"
        assert {name: each.count() for name, each in watched.items()} == seen["ready"]
