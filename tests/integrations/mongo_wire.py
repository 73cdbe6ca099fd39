"""The least of MongoDB's wire protocol that a client needs to connect and to ping: Debian has no such server."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import bson

HEADER = struct.Struct("<iiii")
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
QUERY_ANSWER, MESSAGE = struct.pack("<iqii", 8, 0, 0, 1), struct.pack("<iB", 0, 0)
STANDALONE = {
    "ok": 1.0,
    "ismaster": True,
    "isWritablePrimary": True,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "maxBsonObjectSize": 16 * 1024 * 1024,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
}


class Conversation(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while len(header := self.rfile.read(HEADER.size)) == HEADER.size:
            length, request_id, _, code = HEADER.unpack(header)
            self.rfile.read(length - HEADER.size)
            answer = bson.encode(STANDALONE)  # to a ping as well: `ok` is all that it looks for
            kind, beginning = (OP_REPLY, QUERY_ANSWER) if code == OP_QUERY else (OP_MSG, MESSAGE)
            body = beginning + answer
            self.wfile.write(HEADER.pack(HEADER.size + len(body), 0, request_id, kind) + body)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def mongo_server() -> Iterator[int]:
    """Yields its port."""
    with Server(("127.0.0.1", 0), Conversation) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
