"""The app of the end-to-end tests: AWS's own names for the hooks, no mention of snapext, and answers that tell much."""

import json
import os
import time
from contextlib import asynccontextmanager

import psutil
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from snapshot_restore_py import register_after_restore, register_before_snapshot

ran = []


def record(phase, **fields):
    line = json.dumps({"pid": os.getpid(), "phase": phase, **fields, "at_ns": time.monotonic_ns()}) + "\n"
    file = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


@register_before_snapshot
def before():
    ran.append("before")
    record("before_snapshot", hook="before")


@register_after_restore
def after():
    ran.append("after")
    record("after_restore", hook="after")
    if os.environ.get("FAIL") == "after":
        raise ValueError("no connection")


@asynccontextmanager
async def lifespan(_app):
    if os.environ.get("FAIL") == "before":
        register_before_snapshot(lambda: 1 / 0)
    yield


app = FastAPI(lifespan=lifespan)


def who_is_at(port):
    """The name of the process whose socket has that local port: who sent the request."""
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.pid not in (None, os.getpid()):
            return psutil.Process(connection.pid).name()
    return None


@app.get("/")
def answer(request: Request):
    record("request", path="/")
    return {"pid": os.getpid(), "ran": ran, "peer": who_is_at(request.client.port)}


@app.get("/ready")
def ready():
    return {}


@app.post("/before")
@app.post("/after")
def adapters_own_hooks():
    return {}


@app.get("/stream")
def stream():
    def chunks():
        yield b"first "
        deadline = time.monotonic() + 15
        while not os.path.exists(os.environ["FIRST_BYTE_FILE"]):
            if time.monotonic() > deadline:
                yield b"nobody saw the first byte"
                return
            time.sleep(0.005)
        yield b"last"

    return StreamingResponse(chunks(), media_type="text/plain")
