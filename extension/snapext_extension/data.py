"""Values with names, that do not change: what `dataclasses` and `typing.NamedTuple` are for, at a tenth of their cost.

Importing `dataclasses` and making forty such classes took 50 ms of the extension's start, and 2 MB of its memory.
"""

from __future__ import annotations

from snapext.wire.record import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Slots(type):
    """Makes a slot of each annotated name. Its value in the class, if there is one, is the default."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _Slots:
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        slots = {"__slots__": fields, "__match_args__": fields, "_names": fields, "_defaults": defaults}
        return super().__new__(cls, name, bases, {**namespace, **slots})


class Data(Frozen, metaclass=_Slots):
    """Each class names its own fields, in annotations that are not evaluated (`from __future__ import annotations`)."""
