"""Async hooks: `app` registers on its loop, which binds it; `late_app` registers before and binds in its lifespan."""

import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI

import snapext

seen = {}


async def remember_loop():
    seen["loop"] = asyncio.get_running_loop()


@asynccontextmanager
async def register(_app):
    snapext.register_after_restore(remember_loop)
    yield


@asynccontextmanager
async def bind(_app):
    snapext.bind_loop()
    yield


app = FastAPI(lifespan=register)
late_app = FastAPI(lifespan=bind)

if os.environ.get("BIND") == "late":
    snapext.register_after_restore(remember_loop)  # no loop runs yet


@late_app.get("/{path:path}")
@app.get("/{path:path}")
async def answer(path: str):
    return {"same_loop": seen.get("loop") is asyncio.get_running_loop()}
