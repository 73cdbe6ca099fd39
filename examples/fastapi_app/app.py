"""A FastAPI app whose every worker closes its connection before the snapshot and opens a new one after it."""

import os
import random
from contextlib import asynccontextmanager

from fastapi import FastAPI

import snapext
from snapext import register_after_restore, register_before_snapshot


class Connection:
    """Stands for a database connection: a snapshot must not contain an open one."""

    def __init__(self):
        self.connected = True

    def close(self):
        self.connected = False

    async def reconnect(self):
        self.connected = True


def new_token():
    # Without a hook every environment restored from the snapshot would have the same token.
    return f"{random.getrandbits(64):016x}"


connection = Connection()
state = {"token": new_token()}


@register_before_snapshot
def close_connection():
    connection.close()


@register_after_restore
async def reconnect():
    await connection.reconnect()  # on the app's own event loop, because of bind_loop() below


@register_after_restore
def renew_token():
    state["token"] = new_token()  # `random` has been reseeded before the first after-restore hook


@asynccontextmanager
async def lifespan(_app: FastAPI):
    snapext.bind_loop()  # async hooks run on this loop
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def index():
    return {
        "pid": os.getpid(),
        "connected": connection.connected,
        "token": state["token"],
        "restored": snapext.is_restored(),
        "environment_id": snapext.status().environment_id,
    }


@app.get("/health")
async def health():
    return {"status": "ok"}
