"""Where the two sides meet, and what makes that place trustworthy.

Beside the protocol, not in it: a command that starts on the init path imports this module and not the messages.

The socket is the only door: it lies in a directory that nobody but its owner can enter, so that nobody else can put
another socket or a link in its place. Each side checks that, and the user of its peer.
"""

from __future__ import annotations

import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class Socket(Protocol):
        """What we use of a socket: of `socket.socket`, of the one in `_socket`, or of one that gevent makes."""

        def connect(self, address: str, /) -> None: ...
        def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...

    class StatResult(Protocol):
        """What we read of os.stat_result."""

        @property
        def st_mode(self) -> int: ...
        @property
        def st_uid(self) -> int: ...


ENV_SOCKET = "SNAPEXT_SOCKET"
ACKNOWLEDGEMENT_FILE = "done"
START_COMMAND_FILE = "start-command"

_CREDENTIALS_BYTES, _INT_BYTES = 12, 4
"""What SO_PEERCRED gives: pid, uid and gid (unix(7)). Not by the module `struct`, which takes 1 ms to import."""


class UntrustedError(Exception):
    """The place, or the process that listens there, is not safely our own. The text says why."""


def socket_path(environ: Mapping[str, str], uid: int) -> str:
    """The path of the socket: $SNAPEXT_SOCKET, or one of the user's own below /tmp."""
    return environ.get(ENV_SOCKET) or f"/tmp/snapext-{uid}/bridge.sock"  # noqa: S108 - guarded by the checks below


def acknowledgement_path(socket: str) -> str:
    """The pipe that a handler writes to, beside the socket: a line with its pid says that it is done."""
    return f"{socket.rpartition('/')[0]}/{ACKNOWLEDGEMENT_FILE}"


def start_command_path(socket: str) -> str:
    """The file in which the exec wrapper leaves what /proc/PID/stat said of it before it became the start command."""
    return f"{socket.rpartition('/')[0]}/{START_COMMAND_FILE}"


def why_refuse_directory(status: StatResult, uid: int) -> str | None:
    """Why a directory (as lstat saw it) must not be trusted to hold the socket, or None."""
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISDIR(status.st_mode):
        return "it is not a directory"
    if status.st_uid != uid:
        return f"it belongs to user {status.st_uid}, we are user {uid}"
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"others may enter it (mode {stat.S_IMODE(status.st_mode):04o}, 0700 is needed)"
    return None


def why_refuse_socket(status: StatResult, uid: int) -> str | None:
    """Why a path (as lstat saw it) must not be taken for the socket, or None."""
    if not stat.S_ISSOCK(status.st_mode):
        return "it is not a socket"
    if status.st_uid != uid:
        return f"it belongs to user {status.st_uid}, we are user {uid}"
    return None


def why_refuse_pipe(status: StatResult, uid: int) -> str | None:
    """Why a path (as lstat saw it) must not be taken for the pipe of the answers, or None."""
    if stat.S_ISREG(status.st_mode):
        return "it is not a pipe but a file (a shell that writes there makes one when there is no pipe)"
    if not stat.S_ISFIFO(status.st_mode):
        return "it is not a pipe"
    if status.st_uid != uid:
        return f"it belongs to user {status.st_uid}, we are user {uid}"
    return None


def check_directory(path: str, uid: int) -> None:
    """Look at the directory of the socket, or of another file in it. Raises UntrustedError and OSError."""
    _refuse(why_refuse_directory(os.lstat(os.path.dirname(path)), uid))


def check_pipe(path: str, uid: int) -> None:
    """Look at the pipe of the answers, and at its directory. Raises UntrustedError and OSError."""
    check_directory(path, uid)
    _refuse(why_refuse_pipe(os.lstat(path), uid))


def connect(peer: Socket, path: str, uid: int) -> int:
    """Connect to the socket where it is safe; returns the pid of the process that listens there.

    Raises UntrustedError, and OSError or ValueError where nobody listens.
    """
    check_directory(path, uid)
    _refuse(why_refuse_socket(os.lstat(path), uid))
    peer.connect(path)
    pid, peer_uid = pid_and_uid(peer)
    _refuse("another user's process listens on it" if peer_uid != uid else None)
    return pid


def pid_and_uid(peer: Socket) -> tuple[int, int]:
    """Whose process is at the other end of a connected socket, by the kernel's word."""
    from _socket import SO_PEERCRED, SOL_SOCKET  # `snapext done` connects to nothing

    given = peer.getsockopt(SOL_SOCKET, SO_PEERCRED, _CREDENTIALS_BYTES)
    pid, uid = (given[at : at + _INT_BYTES] for at in (0, _INT_BYTES))
    return int.from_bytes(pid, sys.byteorder, signed=True), int.from_bytes(uid, sys.byteorder, signed=True)


def _refuse(why: str | None) -> None:
    if why is not None:
        raise UntrustedError(why)
