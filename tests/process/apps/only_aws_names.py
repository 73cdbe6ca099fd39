"""A script that knows nothing of snapext: its hooks are registered with the module that argv names."""

import importlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

hooks = importlib.import_module(sys.argv[1])


def record(phase, hook):
    with open(os.environ["TRACE_FILE"], "a") as file:
        file.write(json.dumps({"pid": os.getpid(), "phase": phase, "hook": hook, "at_ns": time.monotonic_ns()}) + "\n")


@hooks.register_before_snapshot
def before():
    record("before_snapshot", "before")


hooks.register_after_restore(record, "after_restore", hook="after")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()


HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
