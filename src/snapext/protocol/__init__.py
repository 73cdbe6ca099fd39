"""The wire protocol between a process of the app and the extension: bytes in, messages out, no I/O.

Both sides use this package and nothing else defines the protocol. docs/protocol.md describes it for other languages.
"""

from snapext.protocol.connection import Connection, Role
from snapext.protocol.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Done,
    Hello,
    HookCounts,
    HookFailure,
    Hooks,
    HookTiming,
    Message,
    Running,
    Shutdown,
    Welcome,
)

__all__ = [
    "MAX_LINE_BYTES",
    "PROTOCOL_VERSION",
    "AfterRestore",
    "BeforeSnapshot",
    "Connection",
    "Done",
    "Hello",
    "HookCounts",
    "HookFailure",
    "HookTiming",
    "Hooks",
    "Message",
    "Role",
    "Running",
    "Shutdown",
    "Welcome",
]
