"""The tracing server with one thread and no more, on 127.0.0.1:$PORT. HOOK=raise:PHASE or fork:PHASE adds a hook."""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

caught = []
signal.signal(signal.SIGRTMIN + 5, lambda *_: caught.append("earlier"))

import tracing  # noqa: E402

import snapext  # noqa: E402

HOW, _, PHASE = os.environ.get("HOOK", "").partition(":")


def extra_hook():
    if HOW == "raise":
        raise ValueError("the pool is gone")
    if os.fork() == 0:
        tracing.record("forked", hook="forked")
        threading.Event().wait(60)


if HOW:
    {"before": snapext.register_before_snapshot, "after": snapext.register_after_restore}[PHASE](extra_hook)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        threads = [thread.name for thread in threading.enumerate()]
        answer = {**tracing.answer(self.path), "threads": threads, "caught": caught}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args):
        """Say nothing."""


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
