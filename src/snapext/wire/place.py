"""Where the two sides meet, and what makes that place trustworthy. Pure: the caller does the looking.

Beside the protocol, not in it: a command that starts on the init path imports this module and not the messages.

The socket is the only door: it lies in a directory that nobody but its owner can enter, so that nobody else can put
another socket or a link in its place. Each side checks that, and the user of its peer.
"""

from __future__ import annotations

import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class StatResult(Protocol):
        """What we read of os.stat_result."""

        @property
        def st_mode(self) -> int: ...
        @property
        def st_uid(self) -> int: ...


ENV_SOCKET = "SNAPEXT_SOCKET"
ACKNOWLEDGEMENT_FILE = "done"
START_COMMAND_FILE = "start-command"

_CREDENTIALS = struct.Struct("3i")
CREDENTIALS_SIZE = _CREDENTIALS.size
"""How many bytes to ask of getsockopt(SO_PEERCRED)."""


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


def peer_pid_and_uid(credentials: bytes) -> tuple[int, int]:
    """Who is at the other end, from the bytes of SO_PEERCRED (see unix(7))."""
    pid, uid, _gid = _CREDENTIALS.unpack(credentials)
    return pid, uid
