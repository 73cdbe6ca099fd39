"""The web server behind run.sh: it answers an event of Lambda's with a response of Lambda's."""

import json
import os
import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from snapshot_restore_py import register_after_restore, register_before_snapshot

state = {"connection": "opened at init"}


@register_before_snapshot
def close_connection():
    state["connection"] = None


@register_after_restore
def reconnect():
    state["connection"] = "opened after the restore"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer({"ready": True})

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = {"path": event.get("rawPath"), "connection": state["connection"], "random": random.random()}
        self.answer({"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body)})

    def answer(self, document):
        data = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
