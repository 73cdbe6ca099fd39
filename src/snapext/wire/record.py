"""A thing that is declared by its fields, from which its constructor, its reading and its writing follow.

It behaves as a frozen dataclass does, and a type checker takes it for one. It is none: `dataclasses`, and the making of
sixteen such classes, took 40 ms of the first hook in a process, and of the extension's start.
"""

from __future__ import annotations

from snapext.errors import RemoteProtocolError
from snapext.wire.fields import NOTHING, Field, choice, flag, mapping, names, natural, number, part, parts, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options: object) -> Callable[[type], type]:
        """Nothing happens, as with the real one: it is for type checkers, and `typing` takes 7 ms to import."""
        return lambda kind: kind


_fill = object.__setattr__
"""How a value is set, which nobody can set afterwards."""


@dataclass_transform(
    frozen_default=True, field_specifiers=(choice, flag, mapping, names, natural, number, part, parts, text)
)
class Frozen:
    """Values with names, which do not change. Two are equal if they are of one class and have equal values.

    A class says which names it has, and what is taken for those that a constructor is not given.
    """

    __slots__ = ()
    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self._names
        if named or len(values) != len(fields):
            given = {**dict(zip(fields, values, strict=False)), **named}
            filled = {**self._defaults, **given}
            if len(given) != len(values) + len(named) or filled.keys() != {*fields}:
                raise TypeError(f"{type(self).__name__} takes {', '.join(fields)}")
            values = tuple([filled[field] for field in fields])
        for field, value in zip(fields, values, strict=True):
            _fill(self, field, value)

    def replace(self, **changes: Any) -> Self:
        """The same, with other values for these fields."""
        return type(self)(**{**dict(zip(self._names, self._values(), strict=True)), **changes})

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, field) for field in self._names])

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} does not change")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f}={getattr(self, f)!r}' for f in self._names)})"


class Record(Frozen):
    """One that JSON is read into and written from. Its fields are those of snapext.wire.fields."""

    title: ClassVar[str]
    """What an error calls it."""
    _fields: ClassVar[tuple[Field, ...]]

    def __init_subclass__(cls, *, title: str = "") -> None:
        cls.title = title
        cls._fields = tuple(value for value in vars(cls).values() if isinstance(value, Field))
        cls._names = tuple(field.name for field in cls._fields)
        cls._defaults = {field.name: field.default for field in cls._fields if field.default is not NOTHING}
        for name in cls._names:
            delattr(cls, name)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Take it from the object that JSON has read. Raises RemoteProtocolError, which names the field."""
        values: dict[str, Any] = {}
        for field in cls._fields:
            value = data.get(field.name, NOTHING)
            if field.unless is not None and values[field.unless]:
                value = field.default
            elif type(value) in field.kinds:
                if field.check is not None:
                    try:
                        value = field.check(value)
                    except ValueError as error:
                        raise RemoteProtocolError(f"{cls.title}: {field.name!r} {error}") from None
            elif value is NOTHING and field.absent is not NOTHING:
                value = field.absent
            else:
                raise _malformed(cls.title, field, value)
            values[field.name] = value
        record = cls.__new__(cls)
        _fill(record, "__dict__", values)
        return record

    def write(self) -> dict[str, Any]:
        """The object for JSON to write."""
        values = vars(self)
        data: dict[str, Any] = {}
        for field in self._fields:
            value = values[field.name]
            if field.said or not (value is None or value is False):
                data[field.name] = value if field.write is None else field.write(value)
        return data


def _malformed(title: str, field: Field, value: object) -> RemoteProtocolError:
    if value is NOTHING:
        return RemoteProtocolError(f"{title}: the field {field.name!r} is missing")
    accepted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in field.kinds)
    return RemoteProtocolError(f"{title}: {field.name!r} must be {accepted}")
