"""An adapter from 1.1 on at its cheapest: around the restore it uses connections that are already open.

The real one is a native program; no package registry has a release from 1.1 on. This one gives its HTTP hooks the best
case that Python permits: raw sockets, no library, and it parses only a status and a length. (The real one opens a new
connection after the restore, which costs more.)
"""

from __future__ import annotations

import os
import sys
import time

sys.path.insert(0, os.path.abspath(f"{__file__}/../../.."))

from bench.apps._http import EXTENSION, RUNTIME, Connection, field, platform


def main() -> None:
    environ = os.environ
    address = environ["AWS_LAMBDA_RUNTIME_API"]
    events, runtime = platform(address), platform(address)
    _, head, _ = events.ask(
        "POST", f"{EXTENSION}/register", "Lambda-Extension-Name: lambda-adapter\r\n", b'{"events":[]}'
    )
    identifier = field(head, b"lambda-extension-identifier").decode()
    events.send("GET", f"{EXTENSION}/event/next", f"Lambda-Extension-Identifier: {identifier}\r\n")

    ready_port = int(environ.get("AWS_LWA_READINESS_CHECK_PORT") or environ["AWS_LWA_PORT"])
    ready_path = environ["AWS_LWA_READINESS_CHECK_PATH"]
    ready = wait_ready(ready_port, ready_path)
    app = ready if ready_port == int(environ["AWS_LWA_PORT"]) else Connection("127.0.0.1", int(environ["AWS_LWA_PORT"]))
    before, after = (environ.get(f"AWS_LWA_SNAPSTART_{name}_PATH") for name in ("BEFORE_CHECKPOINT", "AFTER_RESTORE"))
    if before:
        expect_ok(app.ask("POST", before)[0])

    runtime.ask("GET", f"{RUNTIME}/restore/next")
    if after:
        expect_ok(app.ask("POST", after)[0])
    expect_ok(ready.ask("GET", ready_path)[0])
    runtime.send("GET", f"{RUNTIME}/invocation/next")
    while True:
        _, head, _ = runtime.answer()
        request_id = field(head, b"lambda-runtime-aws-request-id").decode()
        _, _, body = app.ask("GET", "/")
        answer = b'{"statusCode":200,"body":"' + body + b'"}'
        runtime.ask("POST", f"{RUNTIME}/invocation/{request_id}/response", "", answer)
        runtime.send("GET", f"{RUNTIME}/invocation/next")


def wait_ready(port: int, path: str) -> Connection:
    """The first readiness check; returns the connection of the answer."""
    while True:
        try:
            connection = Connection("127.0.0.1", port)
            if connection.ask("GET", path)[0] == 200:
                return connection
        except OSError:
            pass
        time.sleep(0.01)  # as often as the real one asks


def expect_ok(status: int) -> None:
    if not 200 <= status < 300:
        raise SystemExit(f"the app answered {status}")


main()
