"""The kinds of fields that a message can have: what JSON must hold, and what the attribute holds then.

What the functions that declare a field have in common:
    default: what the constructor takes if it is given nothing.
    absent: what a reader takes if the field is left out. Without it the field must be there.
    said: False if a writer leaves the field out while it is None or False.
    unless: the name of a flag before it; while that is true, the field is not read, and has its default.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snapext.wire.record import Record

NOTHING: Any = object()
"""There is no default: the value has to be given, or to be there."""
LIMIT = 2**63
"""No number reaches it: every language can read those below."""


class Field:
    """A field whose value in JSON is of one of `kinds`: exactly, since a bool is an int as well.

    check: takes such a value, and returns what the attribute holds; raises ValueError. write: the other way round.
    """

    __slots__ = ("absent", "check", "default", "kinds", "name", "said", "unless", "write")

    def __init__(
        self,
        *kinds: type,
        null: bool = False,
        check: Callable[[Any], Any] | None = None,
        write: Callable[[Any], Any] | None = None,
        default: Any = NOTHING,
        absent: Any = NOTHING,
        said: bool = True,
        unless: str | None = None,
    ) -> None:
        self.name = ""
        self.kinds = (*kinds, type(None)) if null else kinds
        self.check = check
        self.write = write
        self.default = default
        self.absent = absent
        self.said = said
        self.unless = unless

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name


def text(**options: Any) -> Any:
    """A string; with null=True, or null."""
    return Field(str, **options)


def choice(*accepted: str, **options: Any) -> Any:
    """One of these strings."""

    def check(value: str) -> str:
        if value not in accepted:
            raise ValueError(f"must be {' or '.join(accepted)}")
        return value

    return Field(str, check=check, **options)


def flag(**options: Any) -> Any:
    """True or false."""
    return Field(bool, **options)


def natural(**options: Any) -> Any:
    """A whole number, zero or more."""
    return Field(int, check=_natural, **options)


def number(**options: Any) -> Any:
    """A finite number, zero or more; with null=True, or null."""
    return Field(int, float, check=_number, **options)


def names(**options: Any) -> Any:
    """A list of strings, for which the attribute has a tuple."""
    return Field(list, check=_names, write=list, **options)


def mapping(**options: Any) -> Any:
    """An object that nobody looks into here; with null=True, or null."""
    return Field(dict, **options)


def part(kind: type[Record], **options: Any) -> Any:
    """An object that is a Record of its own."""
    return Field(dict, check=kind.read, write=kind.write, **options)


def parts(kind: type[Record], **options: Any) -> Any:
    """A list of such objects, for which the attribute has a tuple."""

    def check(items: list[Any]) -> tuple[Record, ...]:
        if not all(type(item) is dict for item in items):
            raise ValueError("must be a list of objects")
        return tuple([kind.read(item) for item in items])

    return Field(list, check=check, write=lambda items: [item.write() for item in items], **options)


def _natural(value: int) -> int:
    if 0 <= value < LIMIT:
        return value
    raise ValueError("must not be negative, nor 2**63 or more")


def _number(value: float | None) -> float | None:
    if value is None:
        return None
    if 0 <= value < LIMIT:
        return float(value)
    raise ValueError("must be a finite number, not negative")


def _names(items: list[Any]) -> tuple[str, ...]:
    if not all(type(item) is str for item in items):
        raise ValueError("must be a list of strings")
    return tuple(items)
