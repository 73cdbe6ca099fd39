"""The app of the end-to-end tests: AWS's own names for the hooks, no mention of snapext, and answers that tell much."""

import json
import os
import time
from contextlib import asynccontextmanager

import psutil
from snapshot_restore_py import register_after_restore, register_before_snapshot
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

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


def who_is_at(port):
    """The name of the process whose socket has that local port: who sent the request."""
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.pid not in (None, os.getpid()):
            return psutil.Process(connection.pid).name()
    return None


def answer(request: Request):
    record("request", path="/")
    return JSONResponse({"pid": os.getpid(), "ran": ran, "peer": who_is_at(request.client.port)})


def nothing(_request: Request):
    return JSONResponse({})


def stream(_request: Request):
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


# FastAPI is built on it, and takes three times as long to import: in each worker of each life.
app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", answer),
        Route("/ready", nothing),
        Route("/before", nothing, methods=["POST"]),  # what the adapter calls by itself, left over
        Route("/after", nothing, methods=["POST"]),
        Route("/stream", stream),
    ],
)
