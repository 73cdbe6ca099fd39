"""A server that loads the app and forks its worker in C, as uWSGI does: Python is not told of the fork.

Nor does the worker ask snapext for anything: then it would notice.
"""

import ctypes
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

import tracing  # noqa: F401 - its hooks


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(os.getpid()).encode())

    def log_message(self, *args):
        """Say nothing."""


server = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
if ctypes.PyDLL(None).fork():
    os.wait()
else:
    server.serve_forever()
