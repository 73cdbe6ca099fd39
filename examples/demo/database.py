"""The demo's database: it answers lines, and closes connections that are idle, as databases and load balancers do."""

import socket
import threading


class Database:
    """Listens on a port of its own, in threads of the demo's process."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.server.accept()
            self.connections.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, connection.makefile("rw") as stream:
            for question in stream:
                print(len(self.connections) if question == "connections\n" else "fine", file=stream, flush=True)
            self.connections.remove(connection)

    def close_idle(self):
        for connection in list(self.connections):
            connection.shutdown(socket.SHUT_RDWR)  # `serve` reads the end of the stream
