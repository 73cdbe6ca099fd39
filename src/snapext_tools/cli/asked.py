"""The requests and events that `snapext simulate` sends to the function: the order of the options counts, as in curl.

`--request` and `--event` are sent in the order given; `-d` and `-H` belong to the `--request` before them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import click

from snapext_tools.simulator.plan import Event, Request

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FORM = "application/x-www-form-urlencoded"
REQUEST, EVENT, DATA, HEADER = "requests", "events", "data", "headers"


@dataclass(slots=True)
class _Draft:
    method: str
    path: str
    pieces: list[bytes] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def request(self) -> Request:
        headers = dict(self.headers)
        if self.pieces and "content-type" not in {*headers, *self.removed}:
            headers["content-type"] = FORM
        return Request(self.method or ("POST" if self.pieces else "GET"), self.path, headers, b"&".join(self.pieces))


def parse_asked(given: Iterable[tuple[str, str]]) -> tuple[Request | Event, ...]:
    """Turn pairs of option name and value into requests and events, in that order. Raises click.BadParameter."""
    asked: list[_Draft | Event] = []
    for name, value in given:
        if name == REQUEST:
            asked.append(_draft(value))
        elif name == EVENT:
            asked.append(_event(value))
        elif name in (DATA, HEADER):
            option = "-d" if name == DATA else "-H"
            if not asked or isinstance(asked[-1], Event):
                raise click.BadParameter("it belongs to the --request before it, and there is none", param_hint=option)
            if name == DATA:
                asked[-1].pieces.append(_data(value))
            else:
                _add_headers(asked[-1], value)
    return tuple(item if isinstance(item, Event) else item.request() for item in asked)


def _draft(value: str) -> _Draft:
    """Parse `POST /path`, or a path alone: its method is POST if there is a body, else GET."""
    method, _, path = value.strip().rpartition(" ")
    method = method.strip()
    if (method and method not in METHODS) or not path.startswith("/"):
        raise click.BadParameter(f"{value!r} is not a method and a path, such as 'GET /health'", param_hint="--request")
    return _Draft(method, path)


def _event(value: str) -> Event:
    payload = _read(value, "--event")
    try:
        json.loads(payload)
    except ValueError as error:
        raise click.BadParameter(f"{value} is not JSON: {error}", param_hint="--event") from None
    return Event("-" if value == "-" else Path(value).name, payload)


def _data(value: str) -> bytes:
    """`@file` is the file without its line ends, as in curl."""
    if not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    return _read(value[1:], "-d").translate(None, b"\r\n\0")


def _add_headers(draft: _Draft, value: str) -> None:
    """`Name: value`; `Name:` removes a default header; `Name;` sends it empty; `@file` holds one per line."""
    if value.startswith("@"):
        for line in _read(value[1:], "-H").decode("utf-8", "replace").splitlines():
            if line.strip():
                _add_header(draft, line)
    else:
        _add_header(draft, value)


def _add_header(draft: _Draft, line: str) -> None:
    name, colon, content = line.partition(":")
    is_empty = not colon and name.endswith(";")
    name, content = name.rstrip(";").strip().lower() if is_empty else name.strip().lower(), content.strip()
    if not (colon or is_empty) or not name or any(character.isspace() for character in name):
        raise click.BadParameter(f"{line!r} is not a header, such as 'Accept: text/html'", param_hint="-H")
    if colon and not content:
        draft.headers.pop(name, None)
        draft.removed.add(name)
    elif name in draft.headers:
        draft.headers[name] += ("; " if name == "cookie" else ",") + content
    else:
        draft.headers[name] = content


def _read(name: str, option: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"cannot read {name}: {error.strerror}", param_hint=option) from None
