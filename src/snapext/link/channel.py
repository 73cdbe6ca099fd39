"""One connection to the extension, written to without waiting.

A descriptor can be closed under us by the app (daemons close all that they find) and its number be used anew, so each
use asks first whether it is still ours.
"""

from __future__ import annotations

import os
import sys
from _collections import deque  # type: ignore[import-not-found]  # `collections` takes 3 ms to import
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_DONTWAIT, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET

from snapext.errors import RemoteProtocolError
from snapext.guest import descriptors, notice
from snapext.guest.primitives import NATIVE, Lock, Socket, poll, sleep
from snapext.link import board
from snapext.wire.connection import Connection, Side, State
from snapext.wire.messages import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE_AND_SILENTLY = MSG_DONTWAIT | MSG_NOSIGNAL
"""Without the signal, which an app may have set to end it, when the extension is gone."""
CHUNK = 4096
"""What they say is short; for a larger buffer the C library would touch pages of its own at each read."""
STRAIGHT_CHUNK = 256
"""Enough for the line of a restore."""
SO_COOKIE, COOKIE_BYTES = 57, 8
WAITS_AT_FIRST_MS = (10, 20, 40, 80, 160, 320, 640)
"""Something more than a second in all, in which an app has started; longer each time, since each wakes the process."""
FIRST_WAIT_S, MAX_WAIT_S = 0.001, 0.05
POLLIN = 1
INT_BYTES = 4
MAX_DESCRIPTORS = 8
"""One is expected. The kernel closes those for which there is no room."""


class Channel:
    """A connection. A writer holds `lock`: the app's own threads send how many hooks there are."""

    def __init__(self, peer: Socket, lock: Lock) -> None:
        self._peer = peer
        self.lock = lock
        self._identity = _identity(peer)
        self._connection = Connection(Side.PROCESS)
        self._unsent = b""
        self._read: deque[Message] = deque()
        self._broken: RemoteProtocolError | None = None
        self._open = True
        self._takes_board = False
        self._descriptor: int | None = None
        self._file: descriptors.File | None = None
        self.straight: Callable[[bytes], bool] | None = None
        """What takes all that has come in one piece, if that is what it expects (straight.py)."""
        self.line: board.Line | None = None
        """Where the hook that runs is written; without it, `running` says so."""

    def offer_board(self) -> bool:
        """Take a descriptor with the answer to hello, if it can be had and mapped. Returns whether hello may say so.

        Not where sockets are greenlets': theirs need not have what it takes.
        """
        self._takes_board = NATIVE and poll is not None and board.can_write()
        return self._takes_board

    def take_line(self, number: int | None) -> None:
        """Use our line of the board, if the answer to hello gives us one."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            if number is not None:
                self.line = board.line(descriptor, number)
            descriptors.close_received(descriptor, self._file)

    def limit(self, timeout_s: float) -> None:
        """Wait for no more than this from now on, in each call."""
        self._peer.settimeout(timeout_s)

    def is_ours(self) -> bool:
        try:
            return self._open and _identity(self._peer) == self._identity
        except OSError:
            return False

    def close(self) -> None:
        self.take_line(None)
        with self.lock:
            ours, self._open, self._unsent = self.is_ours(), False, b""
        if ours:
            self._peer.close()
        else:
            self._peer.detach()

    def abandon(self) -> None:
        """Close a forked child's copy of the descriptor: the parent's connection lives on, and the lock is nobody's."""
        ours, self._open, self.line = self.is_ours(), False, None
        if ours:
            self._peer.close()
        else:
            self._peer.detach()

    # --- reading: by the thread that has connected -----------------------------------------------------------------

    def messages(self, before_waiting: Callable[[], None]) -> Iterator[Message]:
        """What they say, until they hang up. Raises OSError and RemoteProtocolError."""
        while True:
            while self._read:
                yield self._read.popleft()
            if self._broken is not None:
                raise self._broken
            before_waiting()
            data = self._receive() if self.straight is None else self._receive_straight(self.straight)
            if not data:
                return
            self._take(data)

    def _receive_straight(self, straight: Callable[[bytes], bool]) -> bytes:
        """What comes and does not go straight.

        The snapshot is taken while this waits: it looks nothing up behind that, as every page is read anew then.
        """
        recv, getsockopt, identity = self._peer.recv, self._peer.getsockopt, self._identity
        level, option, length, size = SOL_SOCKET, SO_COOKIE, COOKIE_BYTES, STRAIGHT_CHUNK
        if type(identity) is not bytes or not self._connection.is_between_lines:
            return self._receive()
        is_over = False
        while True:
            try:
                if getsockopt(level, option, length) != identity:
                    return b""
            except OSError:
                return b""
            data = recv(size)
            if straight(data):
                is_over = True  # and let go of only later: to free it takes pages as well
                continue
            if is_over:
                self.straight = None
            return data

    def _receive(self) -> bytes:
        if self._takes_board and self._connection.their_state == State.GREETING:
            return self._receive_with_descriptors()
        self._wait_at_first()
        return self._peer.recv(CHUNK) if self.is_ours() else b""  # the kernel closes a descriptor that comes unasked

    def _wait_at_first(self) -> None:
        """An app that closes all descriptors does so when it starts, and has their numbers again at once.

        To read is to let it run: on a busy machine it has done that before the kernel knows of the reading, which then
        takes what is the app's. So we wait in another way until that time is over, and look again before we read.
        """
        if poll is None or self._peer.gettimeout() is not None:
            return
        for slice_ms in WAITS_AT_FIRST_MS:
            if not self.is_ours():
                return
            waiter = poll()
            waiter.register(self._peer, POLLIN)
            if waiter.poll(slice_ms):
                return

    def _receive_with_descriptors(self) -> bytes:
        """Wait first, then keep 0 to 2 occupied for a moment: a descriptor must not get one of these.

        While we waited the app may have closed our descriptor, and its number may be that of another file by now.
        """
        while True:
            self._wait()
            try:
                taken = descriptors.occupy_standard()
            except OSError as error:  # no descriptor is left: the kernel closes the one that comes, and we do without
                notice.debug(f"the board is not used: {error!r}")
                return self._peer.recv(CHUNK) if self.is_ours() else b""
            try:
                if not self.is_ours():
                    return b""
                data, ancillary, _, _ = self._peer.recvmsg(
                    CHUNK, CMSG_SPACE(MAX_DESCRIPTORS * INT_BYTES), MSG_CMSG_CLOEXEC | MSG_DONTWAIT
                )
                break
            except BlockingIOError:
                if self._peer.gettimeout() is not None:
                    raise  # the time is over
            finally:
                descriptors.vacate(taken)
        for level, kind, given in ancillary:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                for at in range(0, len(given) - INT_BYTES + 1, INT_BYTES):
                    descriptor = int.from_bytes(given[at : at + INT_BYTES], sys.byteorder)
                    if self._descriptor is None:
                        self._descriptor, self._file = descriptor, descriptors.received(descriptor)
                    else:
                        os.close(descriptor)
        return data

    def _wait(self) -> None:
        """Until something can be read, the time is over, or the descriptor is not ours any more.

        In slices: the app may take its number between our look and the wait, and nothing would ever come there.
        """
        timeout_s = self._peer.gettimeout()
        slice_s = MAX_WAIT_S if timeout_s is None else timeout_s
        while poll is not None and self.is_ours():
            waiter = poll()
            waiter.register(self._peer, POLLIN)
            if waiter.poll(slice_s * 1000) or timeout_s is not None:
                return

    def is_readable(self, timeout_s: float) -> bool:
        """Whether something can be read, or has been; waits for it."""
        if self._read or self._broken is not None or not self.is_ours():
            return True
        if poll is None:
            sleep(timeout_s)
            return False
        waiter = poll()
        waiter.register(self._peer, POLLIN)
        return bool(waiter.poll(timeout_s * 1000))

    def listen(self) -> deque[Message]:
        """Read what is there, without waiting; returns all that has been read, of which the caller may take some."""
        if NATIVE and poll is not None and self._broken is None and self.is_ours():
            waiter = poll()
            waiter.register(self._peer, POLLIN)
            if waiter.poll(0):
                try:
                    self._take(self._peer.recv(CHUNK))
                except OSError as error:
                    notice.debug(f"the extension is gone: {error!r}")  # the next read finds it out as well
        return self._read

    def _take(self, data: bytes) -> None:
        try:
            for message in self._connection.receive(data):
                self._read.append(message)
        except RemoteProtocolError as error:
            self._broken = error  # what they have said before it counts

    # --- writing ---------------------------------------------------------------------------------------------------

    def is_behind(self) -> bool:
        """Whether the extension is slow to read what we have said."""
        return bool(self._unsent)

    def post(self, message: Message) -> None:
        """Hand over what the socket takes at once, and keep the rest. The caller holds the lock; never waits.

        Raises LocalProtocolError where a message is too long.
        """
        self._post(self._connection.send(message))

    def send(self, message: Message) -> None:
        """Send from a thread of ours, which may wait for a slow extension; nobody waits for it meanwhile."""
        self.send_line(self._connection.send(message))

    def send_line(self, line: bytes) -> None:
        """The same with what is written already."""
        with self.lock:
            self._post(line)
        self.flush()

    def flush(self) -> None:
        """Send what is left, from a thread of ours."""
        wait_s = FIRST_WAIT_S
        while self._unsent:
            sleep(wait_s)
            wait_s = min(wait_s * 2, MAX_WAIT_S)
            with self.lock:
                self._flush()

    def poster(self) -> Callable[[bytes], bool]:
        """What hands over a line at once, as `post` does, but looks nothing up. It returns whether all of it is sent.

        Who calls it holds the lock, and calls `flush` behind that if there is a rest.
        """
        send, getsockopt, identity = self._peer.send, self._peer.getsockopt, self._identity
        level, option, length, flags = SOL_SOCKET, SO_COOKIE, COOKIE_BYTES, AT_ONCE_AND_SILENTLY

        def post(line: bytes) -> bool:
            try:
                if not self._unsent and getsockopt(level, option, length) == identity:
                    sent = send(line, flags)
                    if sent == len(line):
                        return True
                    line = line[sent:]
            except OSError:  # `flush` meets it as well
                pass
            self._unsent += line
            return False

        return post

    def _post(self, line: bytes) -> None:
        if self._open:
            self._unsent += line
            self._flush()

    def _flush(self) -> None:
        if not self.is_ours():
            self._unsent = b""  # the next read finds it out as well
            return
        try:
            self._unsent = self._unsent[self._peer.send(self._unsent, AT_ONCE_AND_SILENTLY) :]
        except BlockingIOError:
            pass  # it stays in `_unsent`, for the next attempt
        except OSError as error:
            notice.debug(f"the extension does not take what we send: {error!r}")
            self._unsent = b""  # the next read sees the end of the connection


def _identity(peer: Socket) -> object:
    """What no other open file has. The kernel's number of a socket touches 20 pages less than fstat, which all have."""
    try:
        return peer.getsockopt(SOL_SOCKET, SO_COOKIE, COOKIE_BYTES)
    except OSError:  # a kernel before 4.12, or no socket any more
        return os.fstat(peer.fileno()).st_ino
