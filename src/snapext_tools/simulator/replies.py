"""The environment's answers to calls, and the JSON in calls and answers. Header names are in lower case."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

Headers = Mapping[str, str]

NO_HEADERS: Final[Headers] = MappingProxyType({})
_JSON: Final[Headers] = MappingProxyType({"Content-Type": "application/json"})


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Blocked:
    """A call that is held open until it has a reply."""

    reply: Reply | None = None


Answer = Reply | Blocked

DROPPED: Final = Reply(0)
"""No answer: the connection is closed."""
NOT_FOUND: Final = Reply(404, b"not found\n", MappingProxyType({"Content-Type": "text/plain"}))
ACCEPTED: Final = Reply(202, b'{"status":"OK"}\n', _JSON)


def json_reply(status: int, content: Mapping[str, Any], headers: Headers = NO_HEADERS) -> Reply:
    """Return an answer whose body is a JSON object."""
    return Reply(status, json.dumps(content).encode() + b"\n", {**_JSON, **headers})


def object_in(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in a body; None when it holds anything else."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def message_in(report: Mapping[str, Any]) -> str:
    """Return the errorMessage of a reported error; empty when it has none."""
    message = report.get("errorMessage")
    return message if isinstance(message, str) else ""
