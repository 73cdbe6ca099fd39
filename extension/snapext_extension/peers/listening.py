"""The socket that the bridge listens on, made so that nobody but its user can come in, or put another in its place."""

from __future__ import annotations

import os
import socket

from snapext.errors import SnapextError
from snapext.wire.place import UntrustedError, check_directory, why_refuse_socket
from snapext_extension.peers import own_file


class BridgeError(SnapextError):
    """The socket cannot be made safely. The text says which path and why."""


def listen(path: str, uid: int) -> socket.socket:
    """Listen at `path` for processes of user `uid`, in a folder of theirs alone. Raises BridgeError if it cannot."""
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        check_directory(path, uid)
        _remove_stale(path, uid)
        return _bind(path)
    except UntrustedError as error:
        raise BridgeError(f"{directory} cannot hold our socket: {error}") from error
    except OSError as error:
        raise BridgeError(f"{path} cannot be listened on: {error.strerror or error}") from error


def _remove_stale(path: str, uid: int) -> None:
    """Take away a socket of ours that nobody listens on any more; refuse anything else that is in the way."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    why = why_refuse_socket(status, uid)
    if why is not None:
        raise BridgeError(f"{path} is in the way: {why}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # one that listens and does not accept would keep us waiting
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            if own_file.remove(path, status):
                return
        except BlockingIOError:
            pass
    raise BridgeError(f"another extension listens on {path}; set SNAPEXT_SOCKET to another path for one of them")


def _bind(path: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # the socket is 0600 from its first moment on
    try:
        server.bind(path)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    server.listen(256)
    server.setblocking(False)
    return server
