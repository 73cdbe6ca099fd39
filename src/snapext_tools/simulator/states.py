"""The states of the runtime and of an extension, as in AWS's public emulator of the platform.

One table for each: a pair of state and call that is not in its table is refused, and states change in no other way.
Most calls are requests of a process over HTTP. The last few of each kind are acts of the platform itself (it releases
the party, hands it an event, its process ends); the same table holds them, and shows the whole life of a party.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class InitType(enum.StrEnum):
    """The values of `AWS_LAMBDA_INITIALIZATION_TYPE` that are simulated."""

    SNAP_START = "snap-start"
    ON_DEMAND = "on-demand"


class RuntimeState(enum.StrEnum):
    """Where the runtime is, in the platform's own words."""

    STARTED = "Started"
    INIT_ERROR = "InitError"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    RESTORE_ERROR = "RestoreError"
    READY = "Ready"
    RUNNING = "Running"
    INVOCATION_RESPONSE = "InvocationResponse"
    INVOCATION_ERROR_RESPONSE = "InvocationErrorResponse"
    RESPONSE_SENT = "ResponseSent"


class RuntimeCall(enum.StrEnum):
    """What moves the runtime: six calls of the Runtime API, then three acts of the platform."""

    RESTORE_NEXT = "restore/next"
    RESTORE_ERROR = "restore/error"
    INIT_ERROR = "init/error"
    INVOCATION_NEXT = "invocation/next"
    INVOCATION_RESPONSE = "invocation/response"
    INVOCATION_ERROR = "invocation/error"
    RESTORED = "restored"
    INVOKED = "invoked"
    RESPONSE_SENT = "response sent"


RUNTIME_TRANSITIONS: Final[Mapping[tuple[RuntimeState, RuntimeCall], RuntimeState]] = MappingProxyType(
    {
        (RuntimeState.STARTED, RuntimeCall.RESTORE_NEXT): RuntimeState.RESTORE_READY,
        (RuntimeState.STARTED, RuntimeCall.INVOCATION_NEXT): RuntimeState.READY,
        (RuntimeState.STARTED, RuntimeCall.INIT_ERROR): RuntimeState.INIT_ERROR,
        (RuntimeState.RESTORE_READY, RuntimeCall.RESTORED): RuntimeState.RESTORING,
        (RuntimeState.RESTORING, RuntimeCall.INVOCATION_NEXT): RuntimeState.READY,
        (RuntimeState.RESTORING, RuntimeCall.RESTORE_ERROR): RuntimeState.RESTORE_ERROR,
        # Older runtimes report a failed after-restore hook to init/error: the platform treats it as restore/error.
        (RuntimeState.RESTORING, RuntimeCall.INIT_ERROR): RuntimeState.RESTORE_ERROR,
        (RuntimeState.READY, RuntimeCall.INVOCATION_NEXT): RuntimeState.READY,
        (RuntimeState.READY, RuntimeCall.INVOKED): RuntimeState.RUNNING,
        # The runtime still has to answer the event, so asking again only reads it again.
        (RuntimeState.RUNNING, RuntimeCall.INVOCATION_NEXT): RuntimeState.RUNNING,
        (RuntimeState.RUNNING, RuntimeCall.INVOCATION_RESPONSE): RuntimeState.INVOCATION_RESPONSE,
        (RuntimeState.RUNNING, RuntimeCall.INVOCATION_ERROR): RuntimeState.INVOCATION_ERROR_RESPONSE,
        (RuntimeState.INVOCATION_RESPONSE, RuntimeCall.RESPONSE_SENT): RuntimeState.RESPONSE_SENT,
        (RuntimeState.INVOCATION_ERROR_RESPONSE, RuntimeCall.RESPONSE_SENT): RuntimeState.RESPONSE_SENT,
        (RuntimeState.RESPONSE_SENT, RuntimeCall.INVOCATION_NEXT): RuntimeState.READY,
    }
)

RUNTIME_ASKS_FOR: Final[Mapping[RuntimeCall, RuntimeState]] = MappingProxyType(
    {
        RuntimeCall.RESTORE_NEXT: RuntimeState.RESTORE_READY,
        RuntimeCall.RESTORE_ERROR: RuntimeState.RESTORE_ERROR,
        RuntimeCall.INIT_ERROR: RuntimeState.INIT_ERROR,
        RuntimeCall.INVOCATION_NEXT: RuntimeState.READY,
        RuntimeCall.INVOCATION_RESPONSE: RuntimeState.INVOCATION_RESPONSE,
        RuntimeCall.INVOCATION_ERROR: RuntimeState.INVOCATION_ERROR_RESPONSE,
    }
)
"""The state that a call asks for: a refusal names it."""


class ExtensionState(enum.StrEnum):
    """Where an extension is, in the platform's own words."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    EXITED = "Exited"


class FatalError(enum.StrEnum):
    """The errors that the platform stores as fatal. It keeps only the first, and prefers it to every other report."""

    RUNTIME_EXIT = "Runtime.ExitError"
    EXTENSION_INIT = "Extension.InitError"
    EXTENSION_EXIT = "Extension.ExitError"
    EXTENSION_CRASH = "Extension.Crash"


class ExtensionCall(enum.StrEnum):
    """What moves an extension: four calls of the Extensions API, then two acts of the platform."""

    REGISTER = "register"
    EVENT_NEXT = "event/next"
    INIT_ERROR = "extension/init/error"
    EXIT_ERROR = "extension/exit/error"
    EVENT = "event"
    EXITED = "exited"


EXTENSION_TRANSITIONS: Final[Mapping[tuple[ExtensionState, ExtensionCall], ExtensionState]] = MappingProxyType(
    {
        (ExtensionState.STARTED, ExtensionCall.REGISTER): ExtensionState.REGISTERED,
        (ExtensionState.REGISTERED, ExtensionCall.EVENT_NEXT): ExtensionState.READY,
        (ExtensionState.REGISTERED, ExtensionCall.INIT_ERROR): ExtensionState.INIT_ERROR,
        (ExtensionState.REGISTERED, ExtensionCall.EXIT_ERROR): ExtensionState.EXIT_ERROR,
        (ExtensionState.READY, ExtensionCall.EVENT): ExtensionState.RUNNING,
        (ExtensionState.READY, ExtensionCall.EXIT_ERROR): ExtensionState.EXIT_ERROR,
        (ExtensionState.RUNNING, ExtensionCall.EVENT_NEXT): ExtensionState.READY,
        (ExtensionState.RUNNING, ExtensionCall.EXIT_ERROR): ExtensionState.EXIT_ERROR,
        # A second report of the same kind is accepted and changes nothing: the first error stays.
        (ExtensionState.INIT_ERROR, ExtensionCall.INIT_ERROR): ExtensionState.INIT_ERROR,
        (ExtensionState.EXIT_ERROR, ExtensionCall.EXIT_ERROR): ExtensionState.EXIT_ERROR,
        # A process may end at any time; the environment decides whether that is a crash.
        **{(state, ExtensionCall.EXITED): ExtensionState.EXITED for state in ExtensionState},
    }
)

EXTENSION_ASKS_FOR: Final[Mapping[ExtensionCall, ExtensionState]] = MappingProxyType(
    {
        ExtensionCall.REGISTER: ExtensionState.REGISTERED,
        ExtensionCall.EVENT_NEXT: ExtensionState.READY,
        ExtensionCall.INIT_ERROR: ExtensionState.INIT_ERROR,
        ExtensionCall.EXIT_ERROR: ExtensionState.EXIT_ERROR,
    }
)
"""The state that a call asks for: a refusal names it."""


FATAL_REPORTS: Final[Mapping[ExtensionCall, FatalError]] = MappingProxyType(
    {
        ExtensionCall.INIT_ERROR: FatalError.EXTENSION_INIT,
        ExtensionCall.EXIT_ERROR: FatalError.EXTENSION_EXIT,
        # Only for an exit without a report: else the report comes first.
        ExtensionCall.EXITED: FatalError.EXTENSION_CRASH,
    }
)
"""The error stored for an extension's report, whatever type its header names (agentiniterror.go, agentexiterror.go).

The runtime's own reports are not stored: init/error is kept as the answer to the invocation; restore/error ends the
restore, and users see it only if nothing is stored.
"""


def runtime_after(state: RuntimeState, call: RuntimeCall) -> RuntimeState | None:
    """The runtime's state after `call`, or None when the call is refused in `state`."""
    return RUNTIME_TRANSITIONS.get((state, call))


def extension_after(state: ExtensionState, call: ExtensionCall) -> ExtensionState | None:
    """An extension's state after `call`, or None when the call is refused in `state`."""
    return EXTENSION_TRANSITIONS.get((state, call))
