"""A server for telemetry: it takes what is posted, and knows on which connections."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Collector:
    """`posts`: path, connection and body of each. `open`: the connections that are open now."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, Any, bytes]] = []
        self.open: set[Any] = set()
        self.url = ""

    def bodies(self, path: str) -> list[bytes]:
        return [body for posted, _, body in self.posts if posted == path]


@contextmanager
def collector() -> Iterator[Collector]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def setup(self) -> None:
            super().setup()
            found.open.add(self.client_address)

        def finish(self) -> None:
            super().finish()
            found.open.discard(self.client_address)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found.posts.append((self.path, self.client_address, body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield found
        server.shutdown()
        thread.join()
