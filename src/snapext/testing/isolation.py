"""What a test does to snapext is undone: its hooks, its generators, its loop, and what the process knows of a restore.

The registries are the same lists before, during and after: apps and snapshot_restore_py hold references to them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from snapext.guest.own import ENV_INITIALIZATION_TYPE, ENV_MODE
from snapext.hooks import generators, loops, registry
from snapext.link import linking
from snapext.link.link import Link
from snapext.link.status import Status
from snapext.link.view import View

if TYPE_CHECKING:
    from snapext.hooks.registry import Hook

T = TypeVar("T")
SNAP_START = "snap-start"


class Rehearsal(Link):
    """The link of a process without an extension: it starts no thread, and its view is what a test plays."""

    def start(self) -> None:
        pass

    def tell_hook_counts(self) -> None:
        pass

    def ask_generation(self) -> None:
        pass

    def status(self) -> Status:
        return self.view.status(connected=True)


class Isolation:
    """Between `begin` and `end` snapext is the test's own."""

    def __init__(self) -> None:
        self.view = View()
        self._undo: list[Callable[[], object]] = []
        self._staying: list[list[Hook]] = []
        """What each registry has when the test is over: what it had, and what modules have registered."""
        self._seen: dict[int, Hook] = {}

    def begin(self) -> None:
        self._undo.append(_environment())
        link: Link = Rehearsal(self.view)
        self._undo.append(_exchanged(linking.exchange, link))
        self._undo.append(_exchanged(generators.exchange, generators.registered()))
        self._undo.append(self._loops())
        self._undo.append(self._registries())

    def end(self) -> None:
        while self._undo:
            self._undo.pop()()

    def has_hooks(self) -> bool:
        return any(_lists())

    def _loops(self) -> Callable[[], object]:
        before = loops.exchange(loops.bound(), None, None)

        def undo() -> None:
            _, private, _ = loops.exchange(*before)
            if private is not None and not private.is_closed():
                private.close()

        return undo

    def _registries(self) -> Callable[[], object]:
        registry.adopt()
        self._staying = [list(hooks) for hooks in _lists()]
        counts = [len(hooks) for hooks in self._staying]
        told = registry.when_registered
        self._seen = {id(hook): hook for hooks in self._staying for hook in hooks}
        registry.when_registered = self._registered

        def undo() -> None:
            registry.when_registered = told
            for hooks, staying in zip(_lists(), self._staying, strict=True):
                hooks[:] = staying
            if [len(hooks) for hooks in self._staying] != counts:
                told()

        return undo

    def _registered(self) -> None:
        """A hook has been registered. A module that is imported in a test registers no second time: its hooks stay."""
        loops.bind_running_loop()
        imported = _is_in_an_import(sys._getframe(1))
        for hooks, staying in zip(_lists(), self._staying, strict=True):
            for place, hook in enumerate(hooks):
                if id(hook) not in self._seen:
                    self._seen[id(hook)] = hook
                    if imported:
                        _put_before(hooks[place + 1 :], staying, hook)


def _lists() -> tuple[list[Hook], list[Hook]]:
    return registry.get_before_snapshot(), registry.get_after_restore()


def _put_before(followers: list[Hook], staying: list[Hook], hook: Hook) -> None:
    """Put it where it stands: an integration, or `fresh`, puts its own in front of the hooks of the app."""
    places = {id(other): place for place, other in enumerate(staying)}
    place = next((places[id(other)] for other in followers if id(other) in places), len(staying))
    staying.insert(place, hook)


def _is_in_an_import(frame: FrameType | None) -> bool:
    """Whether a module is being imported that this frame is a part of."""
    while frame is not None:
        spec = frame.f_globals.get("__spec__")
        if frame.f_code.co_name == "<module>" and getattr(spec, "_initializing", False):
            return True
        frame = frame.f_back
    return False


def _environment() -> Callable[[], object]:
    """As in a function with SnapStart, where snapext is not off."""
    before = {name: os.environ.pop(name, None) for name in (ENV_INITIALIZATION_TYPE, ENV_MODE)}
    os.environ[ENV_INITIALIZATION_TYPE] = SNAP_START

    def undo() -> None:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    return undo


def _exchanged(exchange: Callable[[T], T], value: T) -> Callable[[], object]:
    before = exchange(value)
    return lambda: exchange(before)
