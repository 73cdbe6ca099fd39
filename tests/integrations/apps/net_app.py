"""Clients in each worker. They are used before the snapshot, in an after-restore hook, and by requests."""

import asyncio
import json
import os
from contextlib import AsyncExitStack

import aioboto3
import aiohttp
import boto3
import httpx
import redis
import redis.asyncio
import requests
import urllib3

import snapext

PORTS = json.loads(os.environ["PORTS"])
URLS = {name: f"http://127.0.0.1:{port}/" for name, port in PORTS.items()}
AWS = {"region_name": "eu-west-1"}


class Clients:
    async def open(self, stack):
        self.redis = redis.Redis(port=PORTS["redis"])
        self.redis_aio = redis.asyncio.Redis(port=PORTS["redis_aio"])
        self.requests = requests.Session()
        self.urllib3 = urllib3.PoolManager()
        self.pool = urllib3.HTTPConnectionPool("127.0.0.1", PORTS["pool"])
        self.httpx = httpx.Client()
        self.httpx_aio = httpx.AsyncClient()
        self.aiohttp = aiohttp.ClientSession()
        self.boto3 = boto3.client("sqs", endpoint_url=URLS["boto3"], **AWS)
        self.aioboto3 = await stack.enter_async_context(
            aioboto3.Session().client("sqs", endpoint_url=URLS["aioboto3"], **AWS)
        )

    async def use(self):
        """One request with each. Those that are not async follow one another, so that each needs one connection."""
        assert self.redis.ping()
        assert self.requests.get(URLS["requests"]).text == "hello"
        assert self.urllib3.request("GET", URLS["urllib3"]).data == b"hello"
        assert self.pool.request("GET", "/").data == b"hello"
        assert self.httpx.get(URLS["httpx"]).text == "hello"
        self.boto3.list_queues()
        assert await self.redis_aio.ping()
        assert (await self.httpx_aio.post(URLS["httpx_aio"])).text == "hello"
        async with self.aiohttp.post(URLS["aiohttp"]) as response:
            assert await response.text() == "hello"
        await self.aioboto3.list_queues()


clients = Clients()


@snapext.register_after_restore
async def first_use():
    await clients.use()


async def lifespan(receive, send):
    async with AsyncExitStack() as stack:
        await receive()
        await clients.open(stack)
        await asyncio.gather(clients.use())
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["path"] == "/use":
        await clients.use()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    return await send({"type": "http.response.body", "body": b"ok"})
