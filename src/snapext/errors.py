"""The errors that snapext raises or reports.

Imports nothing of ours: the client, the protocol and the extension all build on this module.
"""

from __future__ import annotations


class SnapextError(Exception):
    """Base of every error of snapext."""


class ProtocolError(SnapextError):
    """A message broke the wire protocol."""


class LocalProtocolError(ProtocolError):
    """We tried to send what the protocol does not allow: a bug of the caller."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow; the connection to it is closed."""


class ConfigError(SnapextError):
    """A setting has a value that is not accepted.

    The text is one line that names the variable, its value and what is accepted.
    """

    def __init__(self, variable: str, value: str, accepted: str) -> None:
        self.variable = variable
        self.value = value
        self.accepted = accepted
        super().__init__(f"{variable}={value!r} is not accepted: {accepted}")


class ControlError(SnapextError):
    """The extension could not be asked, or did not answer. The text is one line."""


class CheckpointError(SnapextError):
    """The boundary was not passed: a hook failed, or there is nobody who could take us across.

    exit_status: 64 when it failed before the snapshot, 65 after the restore, as the managed runtime has it; else 1.
    """

    def __init__(self, message: str, exit_status: int = 1) -> None:
        self.exit_status = exit_status
        super().__init__(message)
