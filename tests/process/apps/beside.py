"""The tracing server with other programs beside it: each argument is the command line of one, COPIES times.

It listens once each of them has written `up` into the trace. GET answers with what the trace held by then, and with
how the programs are: alive or not, and which signals wait for them. WAIT_FOR names a line of the trace that its own
before-snapshot hook waits for.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import tracing


def read_trace():
    with open(os.environ["TRACE_FILE"]) as file:
        return [json.loads(line) for line in file]


def health(pid):
    with open(f"/proc/{pid}/status") as file:
        status = file.read()
    fields = dict(re.findall(r"^(State|SigPnd|ShdPnd):\s+(\w+)", status, re.MULTILINE))
    return {"alive": fields["State"] not in "ZX", "pending": int(fields["SigPnd"], 16) | int(fields["ShdPnd"], 16)}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        trace = read_trace()
        if self.path != "/ready":
            tracing.record("request", path=self.path)
        body = json.dumps({"trace": trace, "programs": {pid: health(pid) for pid in programs}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


def wait_for_a_line():
    deadline = time.monotonic() + 30
    while not any(line["phase"] == os.environ["WAIT_FOR"] for line in read_trace()):
        assert time.monotonic() < deadline, "it is not in the trace"
        time.sleep(0.01)


if "WAIT_FOR" in os.environ:
    tracing.snapext.register_before_snapshot(wait_for_a_line)

if __name__ == "__main__":
    commands = [shlex.split(words) for words in sys.argv[1:]] * int(os.environ.get("COPIES", "1"))
    programs = [subprocess.Popen(command).pid for command in commands]
    open(os.environ["TRACE_FILE"], "a").close()
    deadline = time.monotonic() + 60
    while sum(line["phase"] == "up" for line in read_trace()) < len(programs):
        assert time.monotonic() < deadline, "the programs beside are not up"
        time.sleep(0.01)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
