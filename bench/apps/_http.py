"""Minimal HTTP over one connection that stays open. Imports nothing slow."""

from __future__ import annotations

import socket

RUNTIME = "/2018-06-01/runtime"
EXTENSION = "/2020-01-01/extension"


class Connection:
    """One request after another; each answer has a length."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, method: str, path: str, headers: str = "", body: bytes = b"") -> None:
        """`headers` are whole lines."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def answer(self) -> tuple[int, bytes, bytes]:
        """Its status, its head in lower case, its body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        head = head.lower()
        length = int(field(head, b"content-length") or 0)
        while len(body) < length:
            body += self._receive()
        return int(head.split(None, 2)[1]), head, body

    def ask(self, method: str, path: str, headers: str = "", body: bytes = b"") -> tuple[int, bytes, bytes]:
        self.send(method, path, headers, body)
        return self.answer()

    def _receive(self) -> bytes:
        # uvicorn with several workers sends head and body apart, and waits for our ACK in between: send it at once.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the other side hung up")
        return data


def field(head: bytes, name: bytes) -> bytes:
    """One field of a head in lower case; empty if it is missing."""
    _, found, rest = head.partition(b"\r\n" + name + b":")
    return rest.split(b"\r\n", 1)[0].strip() if found else b""


def platform(address: str) -> Connection:
    """A connection to the Runtime API."""
    host, _, port = address.rpartition(":")
    return Connection(host, int(port))


def serve(runtime: Connection, answer: bytes) -> None:
    """Answer the invocation that `invocation/next` returns, and ask for the next."""
    _, head, _ = runtime.answer()
    request_id = field(head, b"lambda-runtime-aws-request-id").decode()
    runtime.ask("POST", f"{RUNTIME}/invocation/{request_id}/response", "", answer)
    runtime.send("GET", f"{RUNTIME}/invocation/next")
