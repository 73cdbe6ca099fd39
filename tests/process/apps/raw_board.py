"""A client that speaks the protocol by hand, and writes on the board which hook runs: raw_board.py GENERATION THEN.

In the phase that leads to that GENERATION its hook does THEN: `die`, `hang`, or `scribble` on its line and die.
"""

import array
import json
import mmap
import os
import signal
import socket
import sys
import time

import raw_client
import traced

LINE_BYTES = 256


class Link(raw_client.Link):
    """Reads the welcome with the descriptor that comes with its first byte."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_UNIX)
        raw_client.wait_until(self._connects)
        hooks = {"before_snapshot": 1, "after_restore": 1}
        self.say("hello", protocol=1, pid=os.getpid(), role="app", name="raw", hooks=hooks, generation=0, board=True)
        welcome, rights, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(4))
        (fd,) = array.array("i", rights[0][2])
        self._board = mmap.mmap(fd, 0)
        os.close(fd)
        self._line = json.loads(welcome)["line"]
        self._lines = self._socket.makefile("rb")

    def write(self, content):
        self._board[self._line * LINE_BYTES : self._line * LINE_BYTES + len(content)] = content

    def begin(self, phase):
        hook, generation = ("raw.close_pool", 0) if phase == "before_snapshot" else ("raw.open_pool", 1)
        self.write(f"{generation} {hook}\0".encode())
        return generation


def main(at, then):
    link = Link()
    traced.record("up")
    for phase in ("before_snapshot", "after_restore"):
        number = link.hear(phase)["id"]
        if link.begin(phase) == at:
            if then == "scribble":
                link.write(b"1 \x1b[2J\xff" * 32)
            if then != "hang":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)
        link.say("done", id=number, ok=True, duration_ms=1)
    time.sleep(60)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
