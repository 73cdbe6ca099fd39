"""The tracing server with a hook that asks for the status in the middle of a phase."""

import json
import os
import subprocess
import sys
from http.server import ThreadingHTTPServer

import tracing
import tracing_http_server

import snapext


@snapext.register_after_restore
def ask():
    asked = subprocess.run([sys.executable, "-m", "snapext", "status", "--json"], capture_output=True, text=True)
    tracing.record("asked", hook="asked", status=json.loads(asked.stdout))


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), tracing_http_server.Handler).serve_forever()
