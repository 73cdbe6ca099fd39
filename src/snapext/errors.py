"""The errors that snapext raises or reports.

It imports no other module of snapext: the client, the protocol and the extension all build on it.
"""

from __future__ import annotations


class SnapextError(Exception):
    """Base of every error of snapext."""


class ProtocolError(SnapextError):
    """A message violates the wire protocol."""


class LocalProtocolError(ProtocolError):
    """We tried to send a message that the protocol does not allow: a bug in the caller."""


class RemoteProtocolError(ProtocolError):
    """The peer sent a message that the protocol does not allow; its connection is closed."""


class ConfigError(SnapextError):
    """A setting has an invalid value.

    The text is one line that names the variable, its value and the accepted values.
    """

    def __init__(self, variable: str, value: str, accepted: str) -> None:
        self.variable = variable
        self.value = value
        self.accepted = accepted
        super().__init__(f"{variable}={value!r} is not accepted: {accepted}")


class ControlError(SnapextError):
    """The extension could not be reached, or did not answer. The text is one line."""


class CheckpointError(SnapextError):
    """The boundary was not crossed: a hook failed, or there is no extension.

    exit_status: 64 when a hook failed before the snapshot, 65 after the restore, as in the managed runtime; else 1.
    """

    def __init__(self, message: str, exit_status: int = 1) -> None:
        self.exit_status = exit_status
        super().__init__(message)
