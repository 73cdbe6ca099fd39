"""Values with names, that do not change: what `dataclasses` and `typing.NamedTuple` are for, at a tenth of their cost.

Importing `dataclasses` and making forty such classes took 50 ms of the extension's start, and 2 MB of its memory.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_options: object) -> Callable[[type], type]:
        """Nothing happens, as with the real one: it is for type checkers."""
        return lambda kind: kind


_fill = object.__setattr__
"""How a value is set, which nobody can change afterwards."""


class _Slots(type):
    """Makes a slot of each annotated name. Its value in the class, if there is one, is the default."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Slots:
        fields = tuple(namespace.get("__annotations__", ())) if bases else ()
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        slots = {"__slots__": fields, "__match_args__": fields, "_defaults": defaults}
        return super().__new__(cls, name, bases, {**namespace, **slots})


@dataclass_transform(frozen_default=True)
class Data(metaclass=_Slots):
    """Two are equal if they are of one class and have equal values.

    Each class names its own fields, in annotations that are not evaluated (`from __future__ import annotations`).
    """

    __match_args__: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__match_args__
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
        return type(self)(**{**{field: getattr(self, field) for field in self.__match_args__}, **changes})

    def _values(self) -> tuple[Any, ...]:
        return tuple([getattr(self, field) for field in self.__match_args__])

    def __setattr__(self, name: str, _value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} does not change")

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, type(self)) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), self._values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{f}={getattr(self, f)!r}' for f in self.__match_args__)})"
