"""What the driver of an environment sees: its events, its failure, and the results of its invocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """An event: when it happened (ms since the platform was made), its name and its details."""

    at_ms: float
    name: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the environment failed.

    `phase` is init, restore or invoke; `error_type` is what users see; `message` is the errorMessage of the reported
    body, else one clear line; `body` is the parsed JSON body, empty when there was none. `stored` is the platform's
    first fatal error if it differs: the exit that ended an initialisation after a report to init/error.
    """

    phase: str
    error_type: str
    message: str
    body: Mapping[str, Any]
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """The result of one invocation. Times are ms since the driver asked for it.

    `duration_ms` ends when the invocation is over for the platform: answered, the runtime back at invocation/next and
    every extension that takes INVOKE back at event/next. `headers` are the response's, names in lower case.
    """

    ok: bool
    body: bytes
    headers: Mapping[str, str]
    duration_ms: float
    first_byte_ms: float
    error_type: str | None
