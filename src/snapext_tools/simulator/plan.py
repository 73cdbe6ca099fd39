"""What is to be simulated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from snapext_tools.simulator import apigw
from snapext_tools.simulator.states import InitType


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the environment is to serve once it is ready."""

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
    """An event of another kind, which the function gets as it is. `name` is what a person calls it."""

    name: str
    payload: bytes

    def __str__(self) -> str:
        return f"event {self.name}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be simulated. `adapter`: a stand-in's name, the path of a binary, or `none`: then the command is the
    runtime itself.

    expected_hooks: how many have to run in all; None for at least one under SnapStart.
    installed_layer: an /opt with extensions in it, to be used as it is in place of our own.
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
