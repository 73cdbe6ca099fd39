"""A value out of the text of an environment variable. Raises ConfigError for a text that is not accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from snapext.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")


def first(environ: Mapping[str, str], name: str, older: str) -> tuple[str, str | None]:
    """The variable that counts, and its value: the adapter reads the older name only where the new one is not set."""
    return (older, environ[older]) if name not in environ and older in environ else (name, environ.get(name))


def optional(environ: Mapping[str, str], name: str, parse_one: Callable[[Mapping[str, str], str], T]) -> T | None:
    return parse_one(environ, name) if name in environ else None


def integer(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and low <= int(text) <= high):
        raise ConfigError(name, text, f"a whole number from {low} to {high}")
    return int(text)


def choice(environ: Mapping[str, str], name: str, default: str, accepted: tuple[str, ...]) -> str:
    value = environ.get(name, default)
    if value not in accepted:
        raise ConfigError(name, value, "one of " + ", ".join(accepted))
    return value
