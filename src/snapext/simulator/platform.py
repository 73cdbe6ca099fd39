"""The simulated platform over HTTP: the Runtime and Extensions APIs on loopback, and the facade that drives them.

All decisions are made by `Environment`; this module serves it. One lock guards the environment and one condition
tells of its changes, so a call that is held open and a driver that waits are the same thing: they look, and sleep
until something has changed. A watcher thread applies the restore deadline and delivers events to `on_event`.

Facade, server and the reading of request bodies share this module because each is only of use to the other two.
"""

from __future__ import annotations

import http.server
import io
import logging
import re
import socket
import socketserver
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self, TypeVar

from snapext.errors import SimulationError
from snapext.simulator.environment import (
    NOT_FOUND,
    Answer,
    Blocked,
    Environment,
    Failure,
    Headers,
    InvocationResult,
    PlatformEvent,
    Reply,
)
from snapext.simulator.states import InitType

__all__ = ["Failure", "InitType", "InvocationResult", "Platform", "PlatformEvent", "PlatformFailure"]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

_RUNTIME: Final = "/2018-06-01/runtime"
_EXTENSION: Final = "/2020-01-01/extension"
_ROUTES: Final[Mapping[tuple[str, str], Callable[[Environment, float, Headers, bytes], Answer]]] = MappingProxyType(
    {
        ("POST", f"{_EXTENSION}/register"): Environment.register,
        ("GET", f"{_EXTENSION}/event/next"): Environment.event_next,
        ("POST", f"{_EXTENSION}/init/error"): Environment.extension_init_error,
        ("POST", f"{_EXTENSION}/exit/error"): Environment.extension_exit_error,
        ("GET", f"{_RUNTIME}/restore/next"): Environment.restore_next,
        ("POST", f"{_RUNTIME}/restore/error"): Environment.restore_error,
        ("POST", f"{_RUNTIME}/init/error"): Environment.init_error,
        ("GET", f"{_RUNTIME}/invocation/next"): Environment.invocation_next,
    }
)
_INVOCATION_PATH: Final = re.compile(rf"{_RUNTIME}/invocation/([^/]+)/(response|error)")
_PIECE_BYTES: Final = 65_536
_SETTLE_TIMEOUT_S: Final = 1.0
_STOP_TIMEOUT_S: Final = 2.0


class PlatformFailure(SimulationError):  # noqa: N818 -- what failed is the environment, and that is a result
    """The environment has failed, or has not got there in time (error type Sandbox.Timeout)."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.error_type}: {failure.message}")


class Platform:
    """One simulated execution environment behind a real HTTP server; a context manager, for one use.

    Waiting methods raise PlatformFailure as soon as the environment has failed, or when their time has passed. A
    driver that acts out of order (a restore before init has ended) gets a SimulationError.
    """

    def __init__(
        self,
        *,
        init_type: InitType,
        extension_names: Sequence[str],
        restore_timeout_ms: int = 10_000,
        function_name: str = "local",
        on_event: Callable[[PlatformEvent], None] | None = None,
    ) -> None:
        self._origin_s = time.monotonic()
        self._environment = Environment(
            init_type=init_type,
            extension_names=extension_names,
            new_id=lambda: str(uuid.uuid4()),
            unix_origin_ms=time.time() * 1000,
            restore_timeout_ms=restore_timeout_ms,
            function_name=function_name,
        )
        self._changed = threading.Condition()
        self._on_event = on_event
        self._delivered = 0
        self._is_closed = False
        self._server = _Server(self)
        self._watcher = threading.Thread(target=self._watch, name="platform-watcher", daemon=True)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._server.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._server.stop()
        if threading.current_thread() is not self._watcher:
            self._watcher.join(_STOP_TIMEOUT_S)

    def now_ms(self) -> float:
        """The clock of `PlatformEvent.at_ms`: ms since this object was made."""
        return (time.monotonic() - self._origin_s) * 1000

    @property
    def failure(self) -> Failure | None:
        """The first failure of the environment, if it has failed."""
        with self._changed:
            self._environment.tick(self.now_ms())
            return self._environment.failure

    @property
    def events(self) -> tuple[PlatformEvent, ...]:
        """Everything that has happened so far, in order."""
        with self._changed:
            return tuple(self._environment.records)

    @property
    def wants_restore(self) -> bool:
        """True once the runtime has asked for restore/next."""
        with self._changed:
            return self._environment.wants_restore

    def wait_registered(self, timeout_s: float) -> None:
        """Wait until every external extension has registered: only then may the runtime be started."""
        missing = self._environment.missing_for_registration
        self._wait("init", "not every extension has registered", missing, timeout_s)

    def runtime_started(self) -> None:
        """Note that the runtime's process runs now."""
        self._act(lambda environment, now_ms: environment.runtime_started(now_ms))

    def wait_init_end(self, timeout_s: float) -> None:
        """Wait until the runtime has asked for its next step and every registered extension for an event."""
        self._wait("init", "init has not ended", self._environment.missing_for_init, timeout_s)

    def restore(self) -> None:
        """Restore the environment: release restore/next, if anyone asked for it, and start the restore deadline."""
        self._act(lambda environment, now_ms: environment.restore(now_ms))

    def wait_ready(self, timeout_s: float) -> float:
        """Wait until the runtime is ready for invocations; returns ms since restore(), 0 when there was none."""
        missing = self._environment.missing_for_ready
        self._wait("restore", "the environment is not ready", missing, timeout_s)
        ready_ms, restored_ms = self._environment.ready_ms, self._environment.restored_ms
        return 0.0 if ready_ms is None or restored_ms is None else ready_ms - restored_ms

    def invoke(self, payload: bytes, timeout_s: float) -> InvocationResult:
        """Send one event and wait until its invocation is over; one at a time. `timeout_s` is also its deadline."""
        request_id = self._act(
            lambda environment, now_ms: environment.invoke(now_ms, payload, timeout_s * 1000), settle=False
        )
        what = f"invocation {request_id} has not ended"
        self._wait("invoke", what, lambda: self._environment.missing_for_invocation(request_id), timeout_s)
        with self._changed:
            result = self._environment.result(request_id)
        if result is None:
            raise SimulationError(f"invocation {request_id} has no result")
        return result

    def shutdown(self, reason: str = "spindown", timeout_ms: int = 2000) -> None:
        """Send SHUTDOWN to the extensions that subscribed to it; does not wait for them."""
        self._act(lambda environment, now_ms: environment.shutdown(now_ms, reason, timeout_ms))

    def process_exited(self, role: str, name: str, returncode: int) -> None:
        """Tell that a process has ended: role "runtime", or "extension" and the name of its file."""
        self._act(lambda environment, now_ms: environment.process_exited(now_ms, role, name, returncode))

    # --- for the server ----------------------------------------------------------------------------------------------

    def step(self, call: Callable[[Environment, float], _T]) -> _T:
        """Do one thing with the environment under the lock, and tell everyone who waits."""
        with self._changed:
            try:
                return call(self._environment, self.now_ms())
            finally:
                self._changed.notify_all()

    def answer(self, call: Callable[[Environment, float], Answer]) -> Reply | None:
        """Make a call and wait while it is held open; None when the platform stops first."""
        with self._changed:
            answer = self.step(call)
            while isinstance(answer, Blocked):
                reply = self._environment.reply_to(answer)
                if reply is not None:
                    return reply
                if self._is_closed:
                    return None
                self._changed.wait()
            return answer

    # --- waiting and telling -----------------------------------------------------------------------------------------

    def _act(self, call: Callable[[Environment, float], _T], *, settle: bool = True) -> _T:
        result = self.step(call)
        if settle:
            self._settle()
        return result

    def _wait(self, phase: str, what: str, missing: Callable[[], list[str]], timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        failure: Failure | None
        with self._changed:
            while True:
                self._environment.tick(self.now_ms())
                failure, words = self._environment.failure, missing()
                if failure is not None or not words:
                    break
                if self._is_closed:
                    raise SimulationError(f"the platform has stopped and {what}")
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    message = f"{what} after {timeout_s:g} s: {'; '.join(words)}"
                    failure = Failure(phase, "Sandbox.Timeout", message, {})
                    break
                self._changed.wait(min(left_s, self._until_deadline_s() or left_s))
        self._settle()
        if failure is not None:
            raise PlatformFailure(failure)

    def _until_deadline_s(self) -> float | None:
        deadline_ms = self._environment.deadline_ms
        return None if deadline_ms is None else max(0.001, (deadline_ms - self.now_ms()) / 1000)

    def _settle(self) -> None:
        """Let on_event have what has happened so far before the driver goes on; not for ever, it is not our code."""
        if self._on_event is None or threading.current_thread() is self._watcher:
            return
        with self._changed:
            count = len(self._environment.records)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._delivered >= count, _SETTLE_TIMEOUT_S)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._environment.tick(self.now_ms())
                events = self._environment.records[self._delivered :]
                if not events:
                    if self._is_closed:
                        return
                    self._changed.wait(self._until_deadline_s())
                    continue
                # The tick may have failed the environment: whoever waits has to look again.
                self._changed.notify_all()
            for event in events:
                self._tell(event)
            with self._changed:
                self._delivered += len(events)
                self._changed.notify_all()

    def _tell(self, event: PlatformEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            _log.exception("on_event failed for %s", event.name)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves each connection in a daemon thread and knows which are open, so that stopping leaves none behind."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    timeout = None

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._is_stopping = False
        self._open: set[Any] = set()
        self._closed_one = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._accept, name="platform-accept", daemon=True)

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of our own host name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, end every open connection and wait for the threads that serve them."""
        self._is_stopping = True
        with socket.create_connection(
            ("127.0.0.1", self.server_address[1]), _STOP_TIMEOUT_S
        ):  # wakes accept: it polls nothing
            self._thread.join(_STOP_TIMEOUT_S)
        self.server_close()
        with self._closed_one:
            for connection in self._open:
                _shut(connection)
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
        """A client that goes away is no error; anything else is ours and is shown."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already


class _Handler(http.server.BaseHTTPRequestHandler):
    """One connection: finds the call, reads its body, hands both to the platform and writes the answer."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815 -- the names are the base class's
    do_PUT = do_GET  # noqa: N815
    do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: what matters is in the platform's events."""

    def _serve(self) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        platform, route = self.server.platform, _ROUTES.get((self.command, path))
        invocation = _INVOCATION_PATH.fullmatch(path) if self.command == "POST" else None
        reply: Reply | None
        if invocation and invocation[2] == "response":
            reply = self._respond(invocation[1], headers)
        else:
            body = _read_body(self.rfile, headers)
            self.close_connection = self.close_connection or not body.is_complete
            if invocation:
                reply = platform.step(
                    lambda e, now_ms: e.invocation_error(now_ms, invocation[1], headers, body.content)
                )
            elif route:
                reply = platform.answer(lambda e, now_ms: route(e, now_ms, headers, body.content))
            else:
                is_known = any(path == known for _, known in _ROUTES) or _INVOCATION_PATH.fullmatch(path)
                reply = Reply(405) if is_known else NOT_FOUND
        if reply is None:
            self.close_connection = True
        else:
            self._write(reply)

    def _respond(self, request_id: str, headers: Headers) -> Reply:
        """An invocation's response: whether it may come is decided before its body is read, byte by byte if need be."""
        platform = self.server.platform
        refusal = platform.step(lambda e, now_ms: e.begin_response(now_ms, request_id, headers))
        if refusal is not None:
            self.close_connection = self.close_connection or not _read_body(self.rfile, headers).is_complete
            return refusal
        body = _read_body(self.rfile, headers, lambda: platform.step(Environment.first_byte))
        self.close_connection = self.close_connection or not body.is_complete
        return platform.step(
            lambda e, now_ms: e.end_response(now_ms, body.content, body.trailers, is_complete=body.is_complete)
        )

    def _write(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()


@dataclass(frozen=True, slots=True)
class _Body:
    content: bytes
    trailers: Headers
    is_complete: bool


def _read_body(stream: io.BufferedIOBase, headers: Headers, on_first_byte: Callable[[], None] = lambda: None) -> _Body:
    """Read a request's body, chunked or of a given length; incomplete when the client breaks off or makes no sense."""
    content, trailers = bytearray(), dict[str, str]()

    def read(count: int) -> bool:
        while count:
            piece = stream.read1(min(count, _PIECE_BYTES))
            if not piece:
                return False
            if not content:
                on_first_byte()
            content.extend(piece)
            count -= len(piece)
        return True

    def read_chunks() -> bool:
        while count := int(stream.readline(_PIECE_BYTES).partition(b";")[0], 16):
            if count < 0 or not read(count) or stream.readline(3) != b"\r\n":
                return False
        while (line := stream.readline(_PIECE_BYTES)) not in (b"\r\n", b"\n"):
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                return False
            trailers[name.strip().lower()] = value.strip()
        return True

    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            is_complete = read_chunks()
        else:
            length = int(headers.get("content-length", "0"))
            is_complete = length >= 0 and read(length)
    except (OSError, ValueError):
        is_complete = False
    return _Body(bytes(content), trailers, is_complete)
