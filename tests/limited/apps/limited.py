"""The app of the lives under a CPU limit, WSGI and ASGI: `limited:application` and `limited:asgi`.

$IMPORTS says what importing it is like: plain; heavy; or one worker takes 1.5 s longer than the others, before or after
it has imported snapext (slow-before, slow-after); or 7 s longer, after (long-after).
"""

import json
import os
import time

IMPORTS = os.environ.get("IMPORTS", "plain")


def record(phase, **fields):
    line = json.dumps({"pid": os.getpid(), "phase": phase, **fields, "at_ns": time.monotonic_ns()}) + "\n"
    file = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def take_longer_once(seconds):
    """In the first worker that gets here."""
    try:
        os.close(os.open(os.environ["TRACE_FILE"] + ".slow", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    record("slow")
    time.sleep(seconds)


if IMPORTS == "slow-before":
    take_longer_once(1.5)

import snapext  # noqa: E402

if IMPORTS in ("slow-after", "long-after"):
    take_longer_once(1.5 if IMPORTS == "slow-after" else 7)
elif IMPORTS == "heavy":  # some 0.2 s of a whole CPU
    import asyncio  # noqa: F401
    import decimal  # noqa: F401
    import email.mime.multipart  # noqa: F401
    import pydoc  # noqa: F401
    import sqlite3  # noqa: F401
    import unittest.mock  # noqa: F401
    import urllib.request  # noqa: F401
    import xml.dom.minidom  # noqa: F401
    import xmlrpc.client  # noqa: F401


@snapext.register_before_snapshot
def before():
    record("hook", hook="before")


@snapext.register_after_restore
def after():
    record("hook", hook="after")


def answer(path):
    if path != "/ready":
        record("request", path=path)
    return json.dumps({"pid": os.getpid()}).encode()


def application(environ, start_response):
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "http":
        body = answer(scope["path"])
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


record("imported")
