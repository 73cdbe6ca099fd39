"""A listening socket whose connections are accepted one by one."""

from __future__ import annotations

import socket
from collections.abc import Callable

from snapext_extension.reactor import Reactor

PAUSE_MS = 100


class Door:
    """Calls `on_accepted` with each connection, which does not block.

    While the kernel has no descriptor or no memory for another connection, the door tries again every PAUSE_MS. The
    connection stays in the queue, so the socket stays ready, and a wait for it would take all of the processor.
    """

    def __init__(self, server: socket.socket, reactor: Reactor, on_accepted: Callable[[socket.socket], None]) -> None:
        self._server = server
        self._reactor = reactor
        self._on_accepted = on_accepted
        self._open()

    def close(self) -> None:
        self._reactor.cancel_timer(self)
        self._reactor.unwatch(self._server.fileno())
        self._server.close()

    def _open(self) -> None:
        self._reactor.watch(self._server.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            accepted, _ = self._server.accept()
        except (BlockingIOError, ConnectionError):
            return  # it was gone before we accepted it
        except OSError:
            self._reactor.unwatch(self._server.fileno())
            self._reactor.set_timer(self, PAUSE_MS, self._open)
            return
        accepted.setblocking(False)
        self._on_accepted(accepted)
