"""A server of nothing but the standard library, with hooks; it listens on 127.0.0.1:$PORT."""

import json
import os
import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import snapext
from snapext import register_after_restore, register_before_snapshot

state = {"connected": True, "token": f"{random.getrandbits(64):016x}"}


@register_before_snapshot
def close_connection():
    state["connected"] = False


@register_after_restore
def reconnect():
    state.update(connected=True, token=f"{random.getrandbits(64):016x}")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {"pid": os.getpid(), **state, "restored": snapext.is_restored()}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
