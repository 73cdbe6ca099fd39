"""The objects of a library that live in this process, wherever they have been made."""

from __future__ import annotations

import gc
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


def alive(classes: tuple[type, ...]) -> list[Any]:
    """Every instance of these classes, and of those derived from them, that the garbage collector knows.

    It looks at types alone: to ask an object for its class runs code of the app where that is a proxy. A server that
    has frozen what it had before it forked (`gc.freeze`) gets it frozen again. It takes some 10 ms for 100,000 objects:
    before the snapshot that is nothing, and the restore never looks.
    """
    if not classes:
        return []
    frozen = gc.get_freeze_count() > 0
    if frozen:
        gc.unfreeze()
    try:
        everything = gc.get_objects()
    finally:
        if frozen:
            gc.freeze()
    among, wanted = frozenset(classes), dict[type, bool]()
    found = []
    for thing in everything:
        kind = type(thing)
        is_wanted = wanted.get(kind)
        if is_wanted is None:
            is_wanted = wanted[kind] = not among.isdisjoint(kind.__mro__)
        if is_wanted:
            found.append(thing)
    return found


class Look:
    """One look for all integrations of a phase. Nothing is held between two phases."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._classes: frozenset[type] = frozenset()
        self._found: list[Any] = []

    def find(self, classes: tuple[type, ...], others: Callable[[], Iterable[type]]) -> list[Any]:
        """The instances of these classes, in their order; `others` are those that will be asked for as well."""
        if not self._classes.issuperset(classes):
            self._classes = frozenset((*classes, *others()))
            self._found = alive(tuple(self._classes))
        found: list[list[Any]] = [[] for _ in classes]
        for thing in self._found:
            bases = type(thing).__mro__
            place = next((place for place, base in enumerate(classes) if base in bases), None)
            if place is not None:
                found[place].append(thing)
        return [thing for things in found for thing in things]


class Kept:
    """Objects that do not live longer because of us. Each is there once, whatever it says about being equal."""

    def __init__(self) -> None:
        self._kept: list[Callable[[], Any]] = []

    def add(self, things: Iterable[Any]) -> None:
        known = {id(thing) for thing in self}
        for thing in things:
            if id(thing) not in known:
                known.add(id(thing))
                self._kept.append(_reference(thing))

    def clear(self) -> None:
        self._kept.clear()

    def __iter__(self) -> Any:
        self._kept = [kept for kept in self._kept if kept() is not None]
        return iter([thing for kept in self._kept if (thing := kept()) is not None])


def _reference(thing: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(thing)
    except TypeError:  # of a class that allows none: an app that hands it over keeps it anyway
        return lambda: thing
