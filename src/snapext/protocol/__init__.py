"""The wire protocol between a process of the app and the extension: bytes in, messages out, no I/O.

Both sides use this package and nothing else defines the protocol. docs/protocol.md describes it for other languages.
"""

from snapext.protocol.connection import Connection, Role
from snapext.protocol.messages import (
    APP,
    CONTROL,
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Checkpoint,
    Describe,
    Described,
    Done,
    Hello,
    HookCounts,
    HookFailure,
    Hooks,
    HookTiming,
    Message,
    Result,
    Running,
    Shutdown,
    StatusRequest,
    Welcome,
)

__all__ = [
    "APP",
    "CONTROL",
    "MAX_LINE_BYTES",
    "PROTOCOL_VERSION",
    "AfterRestore",
    "BeforeSnapshot",
    "Checkpoint",
    "Connection",
    "Describe",
    "Described",
    "Done",
    "Hello",
    "HookCounts",
    "HookFailure",
    "HookTiming",
    "Hooks",
    "Message",
    "Result",
    "Role",
    "Running",
    "Shutdown",
    "StatusRequest",
    "Welcome",
]
