"""A TCP proxy in front of a real server, which knows each connection that a client has opened and closed."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from helpers import LIMIT_S, wait_until


class Connection:
    """`closed`: the client's side has ended it."""

    def __init__(self) -> None:
        self.closed = False
        self.received = 0


class Watched:
    """Listens in front of a server. Every connection is kept, in order."""

    def __init__(self, server_port: int) -> None:
        self.connections: list[Connection] = []
        self._server_port = server_port
        self._own: set[tuple[str, int]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    @property
    def open(self) -> int:
        return sum(not connection.closed for connection in self.connections)

    def count(self) -> int:
        """How many connections clients have made. The kernel takes each at once; we may accept it later."""
        with socket.socket() as own:
            own.settimeout(LIMIT_S)
            own.bind(("127.0.0.1", 0))
            self._own.add(own.getsockname())
            own.connect(("127.0.0.1", self.port))
            assert own.recv(1) == b"", "it is hung up on when its turn comes"
        return len(self.connections)

    def wait_closed(self) -> int:
        """Wait until clients have closed all connections. Returns how many there have been."""
        self.count()
        wait_until(lambda: self.open == 0)
        return len(self.connections)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, address = self._listener.accept()
            except OSError:
                return
            if address in self._own:
                client.close()
                continue
            connection = Connection()
            self.connections.append(connection)
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:  # the server has ended, and its clients have not
                connection.closed = True
                client.close()
                continue
            self._sockets += [client, server]
            for ends in ((client, server, connection), (server, client, None)):
                thread = threading.Thread(target=self._pass_on, args=ends)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket, connection: Connection | None) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if connection is not None:
                    connection.received += len(data)
                target.sendall(data)
        if connection is not None:
            connection.closed = True
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
