"""An asyncio server that is told by signals: sync and async hooks, which need the loop to go on. HOOK=raise:PHASE."""

import asyncio
import os
from contextlib import asynccontextmanager

import tracing
from fastapi import FastAPI

import snapext

HOW, _, PHASE = os.environ.get("HOOK", "").partition(":")
loops = []


async def waits(phase):
    """What it waits for is set by another task of the loop."""
    loops.append(asyncio.get_running_loop())
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, done.set)
    await done.wait()
    if HOW == "raise" and phase.startswith(PHASE):
        raise ValueError("the pool is gone")
    tracing._ran(phase, f"{phase}_waits")


@asynccontextmanager
async def lifespan(_app):
    snapext.register_before_snapshot(waits, "before_snapshot")
    snapext.register_after_restore(waits, "after_restore")
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/{path:path}")
async def answer(path: str):
    return {**tracing.answer(f"/{path}"), "same_loop": loops == [asyncio.get_running_loop()] * 2}
