"""JSON, by what is beneath the module `json`: that itself takes 10 ms to import, most of it for regular expressions."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

WHITESPACE = " \t\n\r"


def refuse_constant(name: str) -> Any:
    """NaN and the infinities, which Python alone takes for JSON."""
    raise ValueError(f"{name} is not JSON")


def refuse_object(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} is not written as JSON")


class _Settings:
    """What the scanner asks for, and only when it is made. No hook and no parser of ours: it makes plain values."""

    strict = True
    object_hook = object_pairs_hook = None
    array_hook = None  # from Python 3.15 on
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(refuse_constant)


scan: Callable[[str, int], tuple[Any, int]]
"""The value that begins at an index, and where it ends. Raises ValueError, StopIteration and RecursionError."""
quote: Callable[[str], str]
"""A string as JSON writes it, in ASCII."""
_chunks: Callable[[Any, int], Iterable[str]]
try:
    from _json import encode_basestring_ascii as quote
    from _json import make_encoder, make_scanner

    scan = make_scanner(_Settings())  # type: ignore[arg-type]  # it asks for no more
    _chunks = make_encoder(None, refuse_object, quote, None, ":", ",", False, False, True)
    _chunks({"": [0.5]}, 0)
except (ImportError, AttributeError, TypeError):  # an interpreter without them, or with others
    import json
    from json.encoder import encode_basestring_ascii as quote

    scan = json.JSONDecoder(parse_constant=refuse_constant).scan_once  # type: ignore[attr-defined]
    _chunks = json.JSONEncoder(separators=(",", ":")).iterencode  # type: ignore[assignment]


def decode(text: str) -> Any:
    """The value of a text. Raises ValueError and RecursionError."""
    stripped = text.strip(WHITESPACE)
    try:
        value, end = scan(stripped, 0)
    except StopIteration as stop:
        raise ValueError(f"there is no value at character {stop.value}") from None
    if end != len(stripped):
        raise ValueError(f"there is more behind the value, at character {end}")
    return value


def encode(value: Any) -> str:
    """The shortest text of a value that is made of what JSON has."""
    return "".join(_chunks(value, 0))
