"""Ask the extension something: `snapext checkpoint`, `snapext status`.

The command is started on the init path and lives through the snapshot, so it does without the protocol's own messages:
it says two lines, which a test compares with them, and reads the answer.
"""

from __future__ import annotations

import json
import os
import sys
import time

from snapext.errors import ControlError
from snapext.guest.descriptors import socket_above_standard
from snapext.wire.phases import PHASES
from snapext.wire.place import UntrustedError, connect, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

START_TIMEOUT_S = 5.0
"""The extension listens some milliseconds after the runtime starts."""
RETRY_S = 0.01


def ask(
    command: str,
    *,
    patience_s: float = 0.0,
    timeout_s: float | None = None,
    before_asking: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Connect as a command, ask, and return the `result`. Waits for it without a limit: what it waits for has one.

    patience_s: how long to look for the extension. timeout_s: how long to wait for each part of its answer.
    before_asking: what has to be behind when it hears the question; called once it is reached.
    Raises ControlError.
    """
    path = socket_path(os.environ, os.geteuid())
    peer = _connect(path, patience_s)
    try:
        peer.settimeout(timeout_s)
        peer.sendall(_line(_hello(command)))
        before_asking()
        peer.sendall(_line({"type": command}))
        return _result(peer, path)
    except OSError as error:
        why = error.strerror or str(error)
        raise ControlError(f"the connection to the extension at {path} broke: {why}") from error
    finally:
        peer.close()


def _hello(command: str) -> dict[str, Any]:
    """As `messages.Hello` would write it, which takes longer to import than all that a command does."""
    return {
        "type": "hello",
        "protocol": 1,
        "pid": os.getpid(),
        "role": "control",
        "client": "snapext-command",
        "name": f"snapext {command}",
        "hooks": dict.fromkeys(PHASES, 0),
        "generation": 0,
    }


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _result(peer: socket.socket, path: str) -> dict[str, Any]:
    received = b""
    while data := peer.recv(65536):
        *lines, received = (received + data).split(b"\n")
        for line in lines:
            try:
                message = json.loads(line)
                if message["type"] == "result":
                    return dict(message)
            except (ValueError, TypeError, KeyError) as error:
                raise ControlError(f"what listens at {path} is no extension of ours: it says {line[:80]!r}") from error
    raise ControlError(f"the extension at {path} ended without an answer; its log says why")


def _connect(path: str, patience_s: float) -> socket.socket:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _try_connect(path, os.geteuid())
        except UntrustedError as error:
            raise ControlError(f"{path} is not used: {error}") from error
        except (OSError, ValueError) as error:
            if time.monotonic() >= deadline:
                raise ControlError(f"no extension listens at {path} (SNAPEXT_SOCKET)") from error
        time.sleep(RETRY_S)


def _try_connect(path: str, uid: int) -> socket.socket:
    # The app's own module, which gevent may have replaced, else the one beneath it, which is 20 ms faster to import.
    sockets: Any = sys.modules.get("socket") or __import__("_socket")
    peer: socket.socket = socket_above_standard(sockets.socket, sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        peer.settimeout(None)
        connect(peer, path, uid)
    except BaseException:
        peer.close()
        raise
    return peer
