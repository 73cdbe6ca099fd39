"""Real servers that the clients of the tests talk to: Redis, AWS's APIs as moto has them, HTTP with keep-alive."""

from __future__ import annotations

import http.server
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers import free_port, need, wait_until


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[int]:
    """Debian's Redis, in memory. Yields its port."""
    need("redis-server")
    port = free_port()
    command = [shutil.which("redis-server") or "", *options, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port))
        yield port
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"hello")

    do_POST = do_GET  # noqa: N815 - http.server calls it so

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that resets its connection is none of its errors."""


@contextmanager
def http_server() -> Iterator[int]:
    """A server that keeps connections open, and closes none by itself. Yields its port."""
    server = Server(("127.0.0.1", 0), Hello)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def aws() -> Iterator[int]:
    """SQS as moto has it, behind a server that keeps connections, which moto's own does not. Yields its port."""
    import waitress
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    server = waitress.create_server(
        DomainDispatcherApplication(create_backend_app), host="127.0.0.1", port=0, clear_untrusted_proxy_headers=True
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server.effective_port
    finally:
        server.trigger.pull_trigger(server.close)  # in its own thread, which may be about to look at what is closed
        server.task_dispatcher.shutdown()
        thread.join()
