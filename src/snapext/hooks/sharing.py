"""Our lists of hooks in the place of those of snapshot_restore_py, AWS's own module.

It keeps each of its lists in a global that its functions look up when they are called. So theirs is replaced by ours
there, with what is in it: that works for names that an app has bound before (`from snapshot_restore_py import
register_after_restore`), and leaves the functions themselves as they are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from snapext.hooks.registry import Hook


def shared(ours: list[Hook], module: ModuleType, phase: str, tell: Callable[[], None]) -> list[Hook]:
    """The list of a phase that both have from now on. tell: called when a hook is registered that ours does not see."""
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
    setattr(module, f"register_{phase}", _telling(getattr(module, f"register_{phase}"), tell))
    return theirs


def _telling(register: Callable[..., Any], tell: Callable[[], None]) -> Callable[..., Any]:
    def telling(func: Any, *args: Any, **kwargs: Any) -> Any:
        result = register(func, *args, **kwargs)
        tell()
        return result

    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(telling, name, getattr(register, name, None))  # functools.wraps, which would have to be imported
    telling.__wrapped__ = register  # type: ignore[attr-defined]
    return telling
