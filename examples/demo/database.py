"""The demo's database: it answers lines, and closes connections that are idle, as databases and load balancers do."""

import socket
import threading

LIMIT_S = 60


class Database:
    """Listens on a port of its own, in threads of the demo's process.

    A busy machine may let the demo hear late of the snapshot, when a clone has been restored and asks already. So no
    question is answered before `thaw`, and `close_idle` closes none of the connections that a clone has opened: those
    that were there when the app was last asked whether all workers are up, which it is before the snapshot only.
    """

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.connections = []
        self.before_snapshot = []
        self.thawed = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.server.accept()
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rw") as stream:
            for question in stream:
                if question == "connections\n":
                    self.before_snapshot = list(self.connections)
                    answer = len(self.before_snapshot)
                else:
                    self.thawed.wait(LIMIT_S)
                    answer = "fine"
                if connection not in self.connections:  # closed while it waited
                    break
                print(answer, file=stream, flush=True)
            self.forget(connection)

    def begin(self):
        """A new life: its snapshot is yet to come."""
        self.before_snapshot = []
        self.thawed.clear()

    def close_idle(self):
        for connection in self.before_snapshot:
            if self.forget(connection):
                connection.shutdown(socket.SHUT_RDWR)  # `serve` reads the end of the stream

    def thaw(self):
        self.thawed.set()

    def forget(self, connection):
        """Whether it was there."""
        try:
            self.connections.remove(connection)
        except ValueError:
            return False
        return True
