"""A server that shares its port with another of its kind (SO_REUSEPORT). The one with HOOKS has the tracing hooks."""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

import traced

if "HOOKS" in os.environ:
    import tracing  # noqa: F401 - registers the hooks


class Server(HTTPServer):
    allow_reuse_port = True


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
traced.record("up")
server.serve_forever()
