"""The HTTP server of the simulated platform: the Runtime and Extensions APIs on loopback."""

from __future__ import annotations

import contextlib
import http.server
import io
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from snapext_tools.simulator.credentials import CREDENTIALS_PATH, Credentials
from snapext_tools.simulator.environment import Environment
from snapext_tools.simulator.replies import DROPPED, NOT_FOUND, Answer, Headers, Reply
from snapext_tools.simulator.request_body import Body, read_body
from snapext_tools.simulator.shared_environment import SharedEnvironment

_RUNTIME: Final = "/2018-06-01/runtime"
_EXTENSION: Final = "/2020-01-01/extension"
_ROUTES: Final[Mapping[tuple[str, str], Callable[[Environment, float, Headers, bytes], Answer]]] = {
    ("POST", f"{_EXTENSION}/register"): Environment.register,
    ("GET", f"{_EXTENSION}/event/next"): Environment.event_next,
    ("POST", f"{_EXTENSION}/init/error"): Environment.extension_init_error,
    ("POST", f"{_EXTENSION}/exit/error"): Environment.extension_exit_error,
    ("GET", f"{_RUNTIME}/restore/next"): Environment.restore_next,
    ("POST", f"{_RUNTIME}/restore/error"): Environment.restore_error,
    ("POST", f"{_RUNTIME}/init/error"): Environment.init_error,
    ("GET", f"{_RUNTIME}/invocation/next"): Environment.invocation_next,
}
_INVOCATION_PATH: Final = re.compile(rf"{_RUNTIME}/invocation/([^/]+)/(response|error)")
_RESTORE_PATHS: Final = (f"{_RUNTIME}/restore/next", f"{_RUNTIME}/restore/error")
_STOP_TIMEOUT_S: Final = 2.0


class PlatformServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves each connection in a daemon thread, and knows the open ones: stopping leaves none behind."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    timeout = None

    def __init__(self, environment: SharedEnvironment, credentials: Credentials | None) -> None:
        self.environment = environment
        self.credentials = credentials
        self._is_stopping = False
        self._open: set[Any] = set()
        self._closed_one = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._accept, name="platform-accept", daemon=True)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of our own host name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def start(self) -> None:
        """Start accepting connections."""
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, end every open connection and wait for the threads that serve them."""
        self._is_stopping = True
        # A connection wakes accept, which does not poll.
        with socket.create_connection(("127.0.0.1", self.server_address[1]), _STOP_TIMEOUT_S):
            self._thread.join(_STOP_TIMEOUT_S)
        self.server_close()
        with self._closed_one:
            for connection in self._open:
                with contextlib.suppress(OSError):  # closed already
                    connection.shutdown(socket.SHUT_RDWR)
            self._closed_one.wait_for(lambda: not self._open, _STOP_TIMEOUT_S)

    def _accept(self) -> None:
        while not self._is_stopping:
            self.handle_request()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        return not self._is_stopping

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._closed_one:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._closed_one:
            self._open.discard(request)
            self._closed_one.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not an error; anything else is ours, and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _PromptReader(io.RawIOBase):
    """Reads a connection and acknowledges each read at once.

    A runtime that streams piece by piece with Nagle's algorithm, as the web adapter does, waits for each of our ACKs.
    The kernel would delay them for 40 ms, and sends them early only if asked after each read.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._connection.recv_into(buffer)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: finds the call, reads its body, passes both to the environment and writes the answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    server: PlatformServer

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_PromptReader(self.connection))

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self._answer(self.path.partition("?")[0], headers)
        if reply is None:
            self.close_connection = True
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()

    do_POST = do_GET  # noqa: N815 -- the names are the base class's
    do_PUT = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815
    # No AWS API has these methods, and 405 says so; without a method here the base class would answer 501.
    do_HEAD = do_GET  # noqa: N815
    do_PATCH = do_GET  # noqa: N815
    do_OPTIONS = do_GET  # noqa: N815
    do_TRACE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: the platform's events say it all."""

    def _answer(self, path: str, headers: Headers) -> Reply | None:
        environment, route = self.server.environment, _ROUTES.get((self.command, path))
        invocation = _INVOCATION_PATH.fullmatch(path) if self.command == "POST" else None
        if invocation and invocation[2] == "response":
            return self._respond(invocation[1], headers)
        body = self._read(headers)
        if invocation:
            reply = environment.step(lambda e, now_ms: e.invocation_error(now_ms, invocation[1], headers, body.content))
            return None if reply is DROPPED else reply
        if route:
            answer = environment.answer(lambda e, now_ms: route(e, now_ms, headers, body.content))
            return None if answer is DROPPED else answer
        return self._without_route(path, headers)

    def _without_route(self, path: str, headers: Headers) -> Reply:
        credentials = self.server.credentials
        if path == CREDENTIALS_PATH and credentials is not None:
            return credentials.answer(headers) if self.command == "GET" else Reply(405)
        if path in _RESTORE_PATHS and not self.server.environment.look(lambda e: e.has_restore):
            return NOT_FOUND
        is_known = any(path == known for _, known in _ROUTES) or _INVOCATION_PATH.fullmatch(path)
        return Reply(405) if is_known else NOT_FOUND

    def _respond(self, request_id: str, headers: Headers) -> Reply | None:
        """Answer an invocation's response, and refuse it before reading its body, which may arrive byte by byte."""
        environment = self.server.environment
        refusal = environment.step(lambda e, now_ms: e.begin_response(now_ms, request_id, headers))
        if refusal is not None:
            self._read(headers)
            return None if refusal is DROPPED else refusal
        body = self._read(headers, lambda: environment.step(Environment.first_byte))
        return environment.step(
            lambda e, now_ms: e.end_response(now_ms, body.content, body.trailers, is_complete=body.is_complete)
        )

    def _read(self, headers: Headers, on_first_byte: Callable[[], None] = lambda: None) -> Body:
        body = read_body(self.rfile, headers, on_first_byte)
        self.close_connection = self.close_connection or not body.is_complete
        return body
