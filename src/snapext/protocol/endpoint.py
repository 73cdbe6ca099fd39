"""Where the two sides meet, and what makes that place trustworthy. Pure: the caller does the looking.

The socket is the only door: it lies in a directory that nobody but its owner can enter, so that nobody else can put
another socket or a link in its place. Each side checks that, and the user of its peer.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Mapping
from typing import Protocol

ENV_SOCKET = "SNAPEXT_SOCKET"

_CREDENTIALS = struct.Struct("3i")
CREDENTIALS_SIZE = _CREDENTIALS.size
"""How many bytes to ask of getsockopt(SO_PEERCRED)."""


class StatResult(Protocol):
    """What we read of os.stat_result."""

    @property
    def st_mode(self) -> int: ...
    @property
    def st_uid(self) -> int: ...


def socket_path(environ: Mapping[str, str], uid: int) -> str:
    """The path of the socket: $SNAPEXT_SOCKET, or one of the user's own below /tmp."""
    return environ.get(ENV_SOCKET) or f"/tmp/snapext-{uid}/bridge.sock"  # noqa: S108 - guarded by the checks below


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
