"""An app as it is written for AWS: its hooks are registered with AWS's module alone, and it never mentions snapext.

A WSGI app (`ways:wsgi`), an ASGI app (`ways:asgi`) and a script that listens on 127.0.0.1:$PORT. In one file, since
`python -I ways.py` finds no other; its hooks and requests leave the trace of tracing.py. $HOOKS names another module.
"""

import importlib
import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

hooks = importlib.import_module(os.environ.get("HOOKS", "snapshot_restore_py"))
ran = []
os.register_at_fork(after_in_child=ran.clear)


def record(phase, **fields):
    line = json.dumps({"pid": os.getpid(), "phase": phase, **fields, "at_ns": time.monotonic_ns()}) + "\n"
    file = os.open(os.environ["TRACE_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


def ran_hook(phase, hook):
    ran.append(hook)
    record(phase, hook=hook)


@hooks.register_before_snapshot
def before_first():
    ran_hook("before_snapshot", "before_first")


@hooks.register_before_snapshot
def before_second():
    ran_hook("before_snapshot", "before_second")


hooks.register_after_restore(ran_hook, "after_restore", hook="after_first")
hooks.register_after_restore(ran_hook, "after_restore", hook="after_second")


def answer(path):
    record("request", path=path)
    return json.dumps({"pid": os.getpid(), "ran": ran}).encode()


def wsgi(environ, start_response):
    body = answer(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = answer(scope["path"])
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = answer(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing: the trace has every request."""


def serve():
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    serve()
