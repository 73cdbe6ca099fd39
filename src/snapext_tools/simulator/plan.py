"""The plan of a simulation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from snapext_tools.simulator import apigw
from snapext_tools.simulator.states import InitType

WITHOUT_SNAPEXT = "without snapext"
"""The mode of a life to which snapext is not attached, in its document."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request for the environment to serve once it is ready."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def payload(self) -> bytes:
        return json.dumps(apigw.http_event(self.method, self.path, self.headers, self.body)).encode()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Event:
    """An event of another kind, sent to the function as it is. `name` is its name for a person."""

    name: str
    payload: bytes

    def __str__(self) -> str:
        return f"event {self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate. `adapter`: a stand-in's name, the path of a binary, or `none`: then the command is the runtime
    itself.

    expected_hooks: how many must run in total; None for at least one under SnapStart.
    installed_layer: an /opt with extensions, used as it is instead of our own.
    with_snapext: False for the life of the function to which snapext is not attached.
    """

    command: tuple[str, ...]
    port: int
    workers: int | None
    init_type: InitType
    freeze_s: float
    requests: tuple[Request | Event, ...]
    adapter: str
    timeout_s: float
    expected_hooks: int | None = None
    installed_layer: str | None = None
    with_snapext: bool = True
