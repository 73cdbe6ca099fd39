"""Many processes with many hooks, and nothing else: `many.py PROCESSES HOOKS` forks, and answers readiness checks."""

from __future__ import annotations

import os
import signal
import socket
import sys

from snapext import register_after_restore

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def hook() -> None:
    """A hook that does nothing: the benchmark measures the way to it."""


def main() -> None:
    processes, hooks = map(int, sys.argv[1:])
    server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
    for _ in range(processes):
        if os.fork() == 0:
            server.close()
            for _ in range(hooks):
                register_after_restore(hook)
            while True:
                signal.pause()
    while True:
        connection, _ = server.accept()
        connection.recv(65536)
        connection.sendall(ANSWER)
        connection.close()


main()
