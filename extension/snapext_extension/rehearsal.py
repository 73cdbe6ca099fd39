"""Run the straight way of a restore before the snapshot, with a stand-in for a process.

The interpreter keeps what it has looked up in the code itself once that has run a few times (PEP 659). In the restore
it then reads neither the names nor the tables where it would look for them: each is a page less.
"""

from __future__ import annotations

import socket

from snapext_extension.boundary.straight import Plan
from snapext_extension.peers.bridge import Bridge, Peer
from snapext_extension.platform.http1 import is_ok
from snapext_extension.straight import Straight

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snapext_extension.straight import Debugger

TIMES = 4
PLAN = Plan({0: 1}, 2, 9_000, by_check=False, debug=False, metrics=False)
DONE = b'{"type":"done","id":2,"ok":true,"duration_ms":0.5,"hooks":[{"name":"a","duration_ms":0.5}],"registered":1}\n'
OK = b"HTTP/1.1 200 OK\r\n\r\n"


class _Reactor:
    """What has been said is there already."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def wait(self, _until_ms: float) -> list[tuple[int, int]]:
        return [(self._fd, 1)]

    def call(self, fd: int) -> None:
        """Nothing else comes."""


def rehearse(bridge: Bridge, debugger: Debugger) -> None:
    """Nobody is told anything. Where no descriptor is left, the restore takes a little longer."""
    try:
        ours, theirs = socket.socketpair()
    except OSError:
        return
    with ours, theirs:
        fd, peer = ours.fileno(), Peer(ours, 0)
        for _ in range(TIMES):
            theirs.send(DONE)
            Straight(PLAN, bridge, {fd: (0, peer)}, _Reactor(fd), None, 200, debugger, -1).run()
            theirs.recv(len(DONE) * 8)
            is_ok(OK)
