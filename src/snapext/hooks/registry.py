"""The hooks of this process, in order of registration.

The lists are those of snapshot_restore_py wherever that module can be imported, so that a hook counts whichever of the
two an app registers it with, and whichever it imports first. `import snapext` pays for this module.
"""

from __future__ import annotations

import sys

from snapext.guest import notice

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would cost every cold start more than this module does
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class _Registry(list["Hook"]):
    """A registry of one phase. AWS's own functions append to it as well as ours, and each new hook is told to the link.

    A list, since users of snapshot_restore_py rely on that.
    """

    __slots__ = ()

    def append(self, hook: Hook) -> None:
        super().append(hook)
        when_registered()


def _nobody() -> None:
    pass


when_registered: Callable[[], None] = _nobody
"""Called after each hook that is registered, with either module's function. It does not raise."""
_before_snapshot: list[Hook] = _Registry()
_after_restore: list[Hook] = _Registry()


def adopt() -> None:
    """Share our lists with snapshot_restore_py, where that is imported.

    It keeps each of its lists in a global that its functions look up when they are called. So theirs is replaced by
    ours there, with what is in it: that works for names that an app has bound before (`from snapshot_restore_py import
    register_after_restore`), and leaves the functions themselves as they are. Never raises.
    """
    global _before_snapshot, _after_restore
    other = sys.modules.get("snapshot_restore_py")
    if other is None or getattr(other, "__snapext__", False):  # absent, or our stand-in
        return
    try:
        _before_snapshot = _shared(_before_snapshot, other, "before_snapshot")
        _after_restore = _shared(_after_restore, other, "after_restore")
    except Exception as error:  # half imported by another thread, or something else of that name
        notice.debug(f"the hooks of snapshot_restore_py are not shared: {error!r}")


def _shared(ours: list[Hook], module: ModuleType, phase: str) -> list[Hook]:
    get_theirs = getattr(module, f"get_{phase}")
    theirs: list[Hook] = get_theirs()
    if theirs is ours or not isinstance(theirs, list):
        return ours
    for name, value in list(vars(module).items()):
        if value is theirs:
            setattr(module, name, ours)
    now: object = get_theirs()
    if now is ours:
        list.extend(ours, theirs)
        return ours
    # Kept in another way than we know: theirs is the one, and the function has to tell. Names bound before do not.
    theirs.extend(ours)
    setattr(module, f"register_{phase}", _telling(getattr(module, f"register_{phase}")))
    return theirs


def _telling(register: Callable[..., Any]) -> Callable[..., Any]:
    def telling(func: Any, *args: Any, **kwargs: Any) -> Any:
        result = register(func, *args, **kwargs)
        when_registered()
        return result

    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(telling, name, getattr(register, name, None))  # functools.wraps, which would have to be imported
    telling.__wrapped__ = register  # type: ignore[attr-defined]
    return telling


try:
    import snapshot_restore_py  # type: ignore[import-untyped, unused-ignore]  # noqa: F401 - before the app has it

    adopt()
except Exception:  # noqa: S110 - whatever is wrong with it must not keep the app from starting
    pass


def get_before_snapshot() -> list[Hook]:
    """The registry of before-snapshot hooks: tuples of function, positional and keyword arguments.

    It is the live list, as in snapshot_restore_py, whose users rely on that.
    """
    return _before_snapshot


def get_after_restore() -> list[Hook]:
    """The registry of after-restore hooks: tuples of function, positional and keyword arguments.

    It is the live list, as in snapshot_restore_py, whose users rely on that.
    """
    return _after_restore


def counts() -> tuple[int, int]:
    """How many hooks there are of each phase, also of those that were registered with snapshot_restore_py."""
    adopt()
    return len(_before_snapshot), len(_after_restore)


def add(registry: list[Hook], hook: Hook) -> None:
    """Append a hook to one of the two lists, and tell `when_registered`."""
    registry.append(hook)
    if not isinstance(registry, _Registry):
        when_registered()


def insert(registry: list[Hook], place: int, hook: Hook) -> None:
    """Put a hook at a place in one of the two lists, and tell `when_registered`."""
    registry.insert(place, hook)
    when_registered()
