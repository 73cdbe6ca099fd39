"""Reach the extension: connect to its socket where that is safe. All that a process without an extension needs."""

from __future__ import annotations

import os
from _socket import AF_UNIX, SOCK_STREAM

from snapext.guest import notice
from snapext.guest.descriptors import socket_above_standard
from snapext.guest.primitives import Socket
from snapext.wire import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    Reached = tuple[Socket, int]
    """A connected socket, and the process at its other end."""


class ForeignError(Exception):
    """The extension speaks a version of the protocol that we do not know."""


def reach() -> Reached | None:
    """Connect; None where nobody listens (yet), or where it is not safe, which is said once."""
    path, uid = place.socket_path(os.environ, os.geteuid()), os.geteuid()
    try:
        return _connect(path, uid)
    except place.UntrustedError as error:
        notice.once("not used", f"{path} is not used: {error}")
    except (OSError, ValueError):
        pass  # nobody there yet, or nobody at all: the caller tries again
    return None


def _connect(path: str, uid: int) -> Reached:
    peer: Socket = socket_above_standard(Socket, AF_UNIX, SOCK_STREAM)
    try:
        peer.settimeout(None)  # whatever the app has set with socket.setdefaulttimeout
        return peer, place.connect(peer, path, uid)
    except BaseException:
        peer.close()
        raise
