"""A server with hooks, started by `python -I`: AWS's module registers them, and nothing runs them."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

import snapshot_restore_py


@snapshot_restore_py.register_after_restore
def reconnect():
    """Never called."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


server = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
with open(os.environ["TRACE_FILE"], "a") as file:
    file.write(f'{{"pid": {os.getpid()}, "phase": "up", "at_ns": 0}}\n')
server.serve_forever()
