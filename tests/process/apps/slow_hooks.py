"""The tracing server with hooks that take long: SLOW_BEFORE and SLOW_AFTER seconds. GET /late registers two more."""

import os
import time
from http.server import ThreadingHTTPServer

import tracing
import tracing_http_server

import snapext


@snapext.register_before_snapshot
def slow_before():
    time.sleep(float(os.environ.get("SLOW_BEFORE", "0")))
    tracing.record("slow", hook="slow_before")


@snapext.register_after_restore
def slow_after():
    time.sleep(float(os.environ.get("SLOW_AFTER", "0")))
    tracing.record("slow", hook="slow_after")


class Handler(tracing_http_server.Handler):
    def do_GET(self):
        if self.path == "/late":
            snapext.register_after_restore(print)
            snapext.register_after_restore(repr)
        super().do_GET()


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
