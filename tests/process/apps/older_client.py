"""A server whose client is an older one, word for word as it was recorded: it says nothing else, and needs what it got.

It answers `/` with the hooks that it ran, and with what the newest extension's messages lacked for it. `/status` asks
with the older command, and answers in the same way.
"""

import json
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from recorded import lacks, said

ran, missing = [], []


def connect():
    connected = socket.socket(socket.AF_UNIX)
    connected.settimeout(20)
    connected.connect(os.environ["SNAPEXT_SOCKET"])
    return connected, connected.makefile("rb")


def send(connected, message, **changed):
    connected.sendall(json.dumps({**message, **changed}).encode() + b"\n")


def hear(lines, expected):
    """The next message, which has to be of the recorded one's type; an older client ignores types it does not know."""
    for line in lines:
        message = json.loads(line)
        if message["type"] in {"welcome", "before_snapshot", "after_restore", "describe", "result"}:
            missing.extend(lacks(message, expected, expected["type"]))
            if message["type"] != expected["type"]:
                missing.append(f"{message['type']} instead of {expected['type']}")
            return message
    raise SystemExit(f"the extension hung up before {expected['type']}")


def take_part():
    hello, *answers = said("process", "app")
    connected, lines = connect()
    send(connected, hello, pid=os.getpid())
    for expected in said("extension", "app"):
        message = hear(lines, expected)
        if expected["type"] in ("before_snapshot", "after_restore"):
            ran.append(expected["type"])
        while expected["type"] != "welcome":
            answer = answers.pop(0)
            send(connected, answer, id=message["id"])
            if answer["type"] in ("done", "described"):
                break
    connected.recv(1)  # until the environment ends


def ask_for_status():
    hello, question = said("process", "command")
    welcome, result = said("extension", "command")
    connected, lines = connect()
    send(connected, hello, pid=os.getpid())
    hear(lines, welcome)
    send(connected, question)
    hear(lines, result)
    connected.close()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/status":
            ask_for_status()
        body = json.dumps({"ran": ran, "missing": missing}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


threading.Thread(target=take_part, daemon=True).start()
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
