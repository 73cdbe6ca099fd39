"""What every integration has in common: when it runs, on which objects, and what becomes of errors.

Its hooks stand in front of all others, in the order of the table, whenever they are installed. So before the snapshot
they run last, when the hooks of the app are done with their connections, and after the restore first, so that the hooks
of the app find them renewed.
"""

from __future__ import annotations

import importlib
import os
import sys

from snapext.guest import notice
from snapext.guest.primitives import importing
from snapext.hooks import registry
from snapext.integrations import table
from snapext.integrations.apps_loop import AppsLoop, kinds
from snapext.integrations.objects import Kept, Look
from snapext.integrations.patience import Patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any

    Work = Callable[[Any], Awaitable[object] | object]
    """What is done with one object; what it returns is awaited on the app's loop if it can be."""


class IntegrationError(RuntimeError):
    """What has to be closed before the snapshot could not be, or not be renewed after the restore."""


class Integration:
    """One library. A module of this room has one instance of a class derived from this, and its `install`."""

    def __init__(self, module: str) -> None:
        self.name = module.rpartition(".")[2]
        self.rank = [entry.name for entry in table.TABLE].index(self.name)
        self._everything = False
        self._given = Kept()
        self._kept = Kept()

    # --- what a library says -----------------------------------------------------------------------------------------

    def classes(self) -> tuple[type, ...]:
        """Whose instances are taken care of, in this order. Called before the snapshot, when the library is loaded."""
        return ()

    def objects(self) -> Iterable[Any]:
        """What is taken care of when no object was given: each instance that is alive before the snapshot."""
        return self.find(self.classes())

    def before_snapshot(self, thing: Any) -> Awaitable[object] | object:
        """Close what must not be frozen. What can be awaited is awaited in turn, behind all that cannot be."""

    def after_restore(self, thing: Any) -> Awaitable[object] | object:
        """Make it fresh. What can be awaited is awaited at the same time as the others."""

    # --- what it may use ---------------------------------------------------------------------------------------------

    def find(self, classes: tuple[type, ...]) -> list[Any]:
        """Their instances, in the look that all integrations share. Before the snapshot alone."""
        return _look_at_objects.find(classes, _all_classes)

    def is_at_rest(self, is_busy: Callable[[], bool]) -> bool:
        """Wait until work in the background is done with something. False if it is not in time."""
        return _patience.is_at_rest(is_busy)

    async def is_at_rest_here(self, is_busy: Callable[[], Awaitable[bool]]) -> bool:
        """The same on the app's loop."""
        return await _patience.is_at_rest_here(is_busy)

    def settle(self, is_unclear: Callable[[], bool]) -> None:
        """Wait a moment while a transaction is open in which no query runs."""
        _patience.settle(is_unclear)

    async def settle_here(self, is_unclear: Callable[[], bool]) -> None:
        """The same on the app's loop."""
        await _patience.settle_here(is_unclear)

    def keep(self, thing: Any) -> None:
        """Renew this after the restore as well: it was made after we had looked."""
        self._kept.add([thing])

    def warn(self, kind: str, line: str) -> None:
        """Say once a process what cannot be done in place, and what to write instead."""
        notice.once(f"{self.name}: {kind}", f"process {os.getpid()}: {self.name}: {line}")

    # --- installing, and the two phases ------------------------------------------------------------------------------

    def install(self, thing: Any = None) -> None:
        """Take care of one object, or of all. Never raises."""
        try:
            if thing is None:
                self._everything = True
            else:
                self._given.add([thing])
            table.attended.add(self.name)
            _put_first(_Step(self, "before_snapshot", self._before_snapshot), registry.get_before_snapshot())
            _put_first(_Step(self, "after_restore", self._after_restore), registry.get_after_restore())
        except Exception as error:
            notice.once(f"{self.name}: not installed", f"the integration of {self.name} is not installed: {error!r}")

    def _before_snapshot(self) -> Awaitable[None] | None:
        self._kept.clear()
        self._kept.add(self._given)
        if self._everything and is_loaded(table.TABLE[self.rank]):
            self._kept.add(self._found())
        return self._each(self.before_snapshot, "close before the snapshot", is_before=True)

    def _found(self) -> Iterable[Any]:
        try:
            return self.objects()
        except (AttributeError, ImportError) as error:
            raise IntegrationError(
                f"{self.name}: this version of {table.TABLE[self.rank].library} does not have what snapext looks for "
                f"({error}). "
                f"Use another version (docs/integrations.md has those that were tried), or name in {table.ENV} the "
                f"libraries to take care of, without {self.name}"
            ) from error

    def _after_restore(self) -> Awaitable[None] | None:
        try:
            return self._each(self.after_restore, "renew after the restore", is_before=False)
        finally:
            self._kept.clear()

    def _each(self, work: Work, what: str, *, is_before: bool) -> Awaitable[None] | None:
        failed: list[BaseException] = []
        awaited = []
        for thing in self._kept:
            try:
                result = work(thing)
                if hasattr(type(result), "__await__"):
                    awaited.append(result)
            except Exception as error:  # the others are done all the same
                failed.append(error)
        if awaited:
            if is_before:
                _apps_loop.bind(self.find)
            return self._wait_for(awaited, failed, what, in_turn=is_before)
        self._raise_if(failed, what)
        return None

    async def _wait_for(self, awaited: list[Any], failed: list[BaseException], what: str, *, in_turn: bool) -> None:
        import asyncio  # an app that has something to await has it

        each = [[one] for one in awaited] if in_turn else [awaited]
        for several in each:
            results = await asyncio.gather(*several, return_exceptions=True)
            failed += [
                result for result in results if isinstance(result, BaseException)
            ]  # CancelledError is no Exception
        self._raise_if(failed, what)

    def _raise_if(self, failed: list[BaseException], what: str) -> None:
        if failed:
            texts = ", ".join(map(repr, failed))
            raise IntegrationError(f"{self.name}: could not {what}, {len(failed)} times: {texts}") from failed[0]


_look_at_objects = Look()
_apps_loop = AppsLoop()
_patience = Patience()
_wanted: set[str] = set()


def install_all(setting: str = table.AUTO) -> None:
    """Take care of the libraries that the setting names, as far as they are loaded when the phase begins.

    Never raises, and imports no library.
    """
    try:
        names, unknown = table.named(setting)
        if unknown:
            notice.once("integrations", table.why_unknown(unknown))
        _wanted.update(names)
        table.attended.update(names)
        if names:
            _put_first(_Step(None, "look", _look), registry.get_before_snapshot())
    except Exception as error:
        notice.once("integrations", f"the integrations of process {os.getpid()} are not installed: {error!r}")


def is_loaded(entry: table.Entry) -> bool:
    return sys.modules.get(entry.library) is not None


def _look() -> None:
    """Before the snapshot, when the hooks of the app have run: install what is loaded by now."""
    for entry in table.TABLE:
        if entry.name in _wanted and is_loaded(entry):
            with importing:
                module = importlib.import_module(entry.module)
            module.install()


def _all_classes() -> Iterable[type]:
    """What all that are installed look for, and loops: so one look finds it."""
    yield from kinds()
    for step in _steps_before():
        if step.owner is not None and is_loaded(table.TABLE[step.rank]):
            try:
                yield from step.owner.classes()
            except Exception as error:  # its own step says so
                notice.debug(f"{step.owner.name} cannot be looked for: {error!r}")


def _steps_before() -> list[_Step]:
    """Ours before the snapshot; the last one runs first."""
    return [hook[0] for hook in registry.get_before_snapshot() if isinstance(hook[0], _Step)]


class _Step:
    """A hook of ours. It has the name that the log shows, and a place among the others of ours."""

    def __init__(self, owner: Integration | None, name: str, call: Callable[[], Awaitable[None] | None]) -> None:
        self.owner = owner
        self.rank = -1 if owner is None else owner.rank
        self.__module__ = "snapext.integrations" if owner is None else f"snapext.integrations.{owner.name}"
        self.__qualname__ = name
        self._call = call

    def __call__(self) -> Awaitable[None] | None:
        if self in _steps_before()[-1:]:
            _forget()
        try:
            return self._call()
        finally:
            if self in _steps_before()[:1]:
                _forget()


def _forget() -> None:
    """A phase begins or ends."""
    _look_at_objects.forget()
    _apps_loop.forget()
    _patience.forget()


def _put_first(step: _Step, hooks: list[registry.Hook]) -> None:
    """Unless it is there: in front of the hooks of the app, and of those of ours that come earlier in the table.

    Others may have been put in front of ours since, by `fresh` say.
    """
    ours = [(place, hook[0].rank) for place, hook in enumerate(hooks) if isinstance(hook[0], _Step)]
    if any(rank == step.rank for _, rank in ours):
        return
    behind = ours[-1][0] + 1 if ours else 0
    place = next((place for place, rank in ours if rank < step.rank), behind)
    registry.insert(hooks, place, (step, (), {}))
