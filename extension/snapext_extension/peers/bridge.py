"""The Unix-socket server: who is connected, what they say, and what they are told. It decides nothing.

The socket is the only door to the hooks, so it is guarded: a directory that only its owner can enter (listening.py), a
peer of the same user, and limits on how many may come in, how much each may say and how long it may stay silent.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from snapext.errors import RemoteProtocolError
from snapext.wire.connection import Connection, Side
from snapext.wire.messages import APP, Done, Hello, Message
from snapext.wire.place import pid_and_uid
from snapext_extension.door import Door
from snapext_extension.log import Log
from snapext_extension.peers import own_file
from snapext_extension.peers.lines import line_of, read_done
from snapext_extension.peers.listening import listen
from snapext_extension.reactor import READ, WRITE, Reactor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Protocol

    class PeerListener(Protocol):
        """Hears what the peers say. `key` stands for one connection."""

        def joined(self, key: int, pid: int, hello: Hello) -> None: ...
        def said(self, key: int, message: Message) -> None: ...
        def done(self, key: int, done: Done) -> None: ...
        def left(self, key: int, pid: int) -> None: ...
        def crowded(self, limit: int) -> None: ...


MAX_CONNECTIONS = 900
"""Beyond it a peer is flooding us. A process on Lambda may have 1,024 descriptors."""
OTHER_DESCRIPTORS = 124
"""What is left for the gate, the watched processes, the platform's calls and the files in /proc, if there are fewer."""
MIN_CONNECTIONS = 16
HELLO_TIMEOUT_MS = 5_000
MAX_UNSENT_BYTES = 256 * 1024


class Peer:
    """ready: what the reactor calls for it. is_app: it has said hello as a process of the app."""

    __slots__ = ("connection", "is_app", "joined", "line", "passing", "pid", "ready", "socket", "unsent", "writes")

    def __init__(self, accepted: socket.socket, pid: int) -> None:
        self.socket = accepted
        self.ready: Callable[[], None]
        self.pid = pid
        self.connection = Connection(Side.EXTENSION)
        self.unsent = b""
        self.writes = False  # the reactor waits until there is room for `unsent`
        self.joined = self.is_app = False
        self.line: int | None = None
        self.passing: int | None = None  # a descriptor, to be sent with the next byte


class Bridge:
    """Serves the socket at `path` for processes of user `uid`. Raises BridgeError if it cannot.

    exchanges: how often something was said, by a peer or to one, or a peer hung up.
    """

    def __init__(self, path: str, uid: int, reactor: Reactor, log: Log, listener: PeerListener) -> None:
        self._uid = uid
        self._reactor = reactor
        self._log = log
        self._listener = listener
        self._peers: dict[int, Peer] = {}
        self._last_key = 0
        self.exchanges = 0
        self._path = path
        self._limit = min(MAX_CONNECTIONS, max(MIN_CONNECTIONS, os.sysconf("SC_OPEN_MAX") - OTHER_DESCRIPTORS))
        server = listen(path, uid)
        self._made = os.lstat(path)
        self._door = Door(server, reactor, self._accepted)

    def send(self, key: int, message: Message) -> None:
        """Tell one process; it is dropped if it does not read. Never waits."""
        peer = self._peers.get(key)
        if peer is not None:
            if peer.line is not None:
                message, peer.line = message.replace(line=peer.line), None
            peer.unsent += peer.connection.send(message)
            self._flush(key, peer)

    def send_all(self, keys: Sequence[int], message: Message) -> None:
        """Tell several processes the same, in one line of bytes. Their welcome comes before. Never waits."""
        peers = [(key, self._peers[key]) for key in keys if key in self._peers]
        if peers:
            self.send_line(peers, line_of(message) or peers[0][1].connection.send(message))

    def send_line(self, peers: Iterable[tuple[int, Peer]], line: bytes) -> None:
        for key, peer in peers:
            sent = 0
            if not peer.unsent:
                try:  # noqa: SIM105 - contextlib.suppress would be three calls of Python for each member
                    sent = peer.socket.send(line)
                except OSError:
                    pass  # no room, or it is gone, which shows when we read
            if sent < len(line):
                peer.unsent += line[sent:]
                self._flush(key, peer)

    def between_lines(self, keys: Iterable[int]) -> dict[int, tuple[int, Peer]] | None:
        """Some peers by their descriptors, each with its key; None if one of them is not where a new line begins."""
        found = {}
        for key in keys:
            peer = self._peers.get(key)
            if peer is None or peer.unsent or not peer.is_app or not peer.connection.is_between_lines:
                return None
            found[peer.socket.fileno()] = (key, peer)
        return found

    def give_line(self, key: int, line: int, board: int) -> None:
        """The welcome, which comes next, is to say which line of the board a process has, and pass it that file."""
        peer = self._peers[key]
        peer.line, peer.passing = line, board

    def close(self) -> None:
        """Hang up on everyone and take the socket away, if it is still ours."""
        for key in list(self._peers):
            self._forget(key)
        self._door.close()
        with contextlib.suppress(OSError):  # gone already
            own_file.remove(self._path, self._made)

    def _accepted(self, accepted: socket.socket) -> None:
        pid, uid = pid_and_uid(accepted)
        if uid != self._uid or len(self._peers) >= self._limit:
            reason = f"user {uid} is not {self._uid}" if uid != self._uid else f"more than {self._limit} connections"
            self._log.write("warning", "connection_refused", pid=pid, reason=reason)
            accepted.close()
            if uid == self._uid:
                self._listener.crowded(self._limit)
            return
        self._last_key += 1
        key = self._last_key  # not the descriptor, whose number is used anew while its last owner is still remembered
        peer = self._peers[key] = Peer(accepted, pid)
        peer.ready = lambda: self._ready(key, peer)
        self._reactor.watch(accepted.fileno(), peer.ready)
        self._reactor.set_timer(peer, HELLO_TIMEOUT_MS, lambda: self._drop(key, "it did not say hello in time"))

    def _ready(self, key: int, peer: Peer) -> None:
        if peer.unsent:
            self._flush(key, peer)
        try:
            data = peer.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.received(key, peer, b"", str(error))
        else:
            self.received(key, peer, data)

    def received(self, key: int, peer: Peer, data: bytes, error: str | None = None) -> None:
        """Take what a peer has sent: nothing, if it has hung up. error: why nothing can be read."""
        self.exchanges += 1
        if not data:
            self._drop(key, error)
            return
        if peer.is_app and peer.connection.is_between_lines and (done := read_done(data)) is not None:
            self._listener.done(key, done)
            return
        try:
            for message in peer.connection.receive(data):
                if self._peers.get(key) is not peer:
                    return  # what it said before made us hang up
                self._dispatch(key, peer, message)
        except RemoteProtocolError as error:
            self._drop(key, str(error))

    def _dispatch(self, key: int, peer: Peer, message: Message) -> None:
        if isinstance(message, Hello):
            self._reactor.cancel_timer(peer)
            peer.joined, peer.is_app = True, message.role == APP
            # The kernel's word for the pid, not the peer's.
            self._listener.joined(key, peer.pid, message)
        else:
            self._listener.said(key, message)

    def _flush(self, key: int, peer: Peer) -> None:
        self.exchanges += 1
        try:
            sent = peer.socket.send(peer.unsent) if peer.passing is None else _pass(peer)
            peer.unsent = peer.unsent[sent:]
        except BlockingIOError:
            pass
        except OSError:
            peer.unsent = b""  # its end shows when we read
        if len(peer.unsent) > MAX_UNSENT_BYTES:
            self._drop(key, "it does not read what the extension sends")
        elif bool(peer.unsent) is not peer.writes and key in self._peers:
            peer.writes = bool(peer.unsent)
            self._reactor.watch(peer.socket.fileno(), peer.ready, READ | WRITE if peer.writes else READ)

    def _drop(self, key: int, reason: str | None) -> None:
        """Hang up on one peer; `reason` is None when it went by itself."""
        peer = self._peers.get(key)
        if peer is None:
            return
        if reason is not None:
            self._log.write("warning", "connection_closed", pid=peer.pid, reason=reason)
        self._forget(key)
        if peer.joined:
            self._listener.left(key, peer.pid)

    def _forget(self, key: int) -> None:
        peer = self._peers.pop(key)
        self._reactor.cancel_timer(peer)
        self._reactor.unwatch(peer.socket.fileno())
        peer.socket.close()


def _pass(peer: Peer) -> int:
    """Send with a descriptor. Where that is not allowed (too many are on their way, unix(7)), the process does without.

    Raises BlockingIOError while there is no room, and the descriptor is not sent.
    """
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", peer.passing))
    try:
        sent = peer.socket.sendmsg([peer.unsent], [rights])
    except BlockingIOError:
        raise
    except OSError:
        sent = 0
    peer.passing = None
    return sent or peer.socket.send(peer.unsent)
