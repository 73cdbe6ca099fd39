"""The tracing server with the hook of misbehaving.py."""

import os
from http.server import ThreadingHTTPServer

import misbehaving  # noqa: F401 - registers the hook
import tracing_http_server

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), tracing_http_server.Handler).serve_forever()
