"""The tracing app on the standard library's server: a script that listens on 127.0.0.1:$PORT."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import tracing


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(tracing.answer(self.path.partition("?")[0])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the adapter's own hooks, where somebody has left them switched on

    def log_message(self, *args):
        """Say nothing: the trace has every request."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
