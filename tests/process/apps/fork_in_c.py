"""A server that loads the app and forks its worker in C, as uWSGI does: Python is not told of the fork."""

import ctypes
import os
from http.server import ThreadingHTTPServer

from tracing_http_server import Handler

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
if ctypes.PyDLL(None).fork():
    os.wait()
else:
    server.serve_forever()
