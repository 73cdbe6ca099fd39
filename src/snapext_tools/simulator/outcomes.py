"""What the driver of an environment gets to see: the events in it, its failure, and what became of its invocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """Something that happened: when (ms since the platform was made), its name and its particulars."""

    at_ms: float
    name: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the environment failed.

    `phase` is init, restore or invoke; `error_type` is what users are told; `message` is the errorMessage of the
    reported body, else one clear line; `body` is the parsed JSON body, empty when there was none. `stored` is the
    platform's first fatal error where it is another: the exit that ended an initialisation of which init/error tells.
    """

    phase: str
    error_type: str
    message: str
    body: Mapping[str, Any]
    stored: str | None = None


@dataclass(frozen=True, slots=True)
class InvocationResult:
    """What became of one invocation. Times are ms since the invocation was asked for.

    `duration_ms` ends when the invocation is over for the platform: answered, the runtime back at invocation/next and
    every extension that takes INVOKE back at event/next. `headers` are those of the response, names in lower case.
    """

    ok: bool
    body: bytes
    headers: Mapping[str, str]
    duration_ms: float
    first_byte_ms: float
    error_type: str | None
