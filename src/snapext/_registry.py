"""The hooks of this process, in order of registration.

The lists are those of snapshot_restore_py wherever that module can be imported, so that a hook counts whichever of the
two an app registers it with, and whichever it imports first. Imports nothing of ours: `import snapext` pays for this
module alone.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would cost every cold start more than this module does
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def _shared_lists() -> tuple[list[Hook], list[Hook]]:
    """The lists of snapshot_restore_py, or our own where it is absent, is our stand-in for it, or does not work."""
    try:
        import snapshot_restore_py as other  # type: ignore[import-untyped, unused-ignore]

        if not getattr(other, "__snapext__", False):  # our stand-in takes its lists from here
            return other.get_before_snapshot(), other.get_after_restore()
    except Exception:  # whatever is wrong with it must not keep the app from starting
        return [], []
    return [], []


_before_snapshot, _after_restore = _shared_lists()


def register_before_snapshot(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[P, R]:
    """Have `func(*args, **kwargs)` called in this process before the snapshot is taken; the last registered runs first.

    Usable as a decorator. `func` may be `async def`. A function registered twice runs twice. Returns `func`.
    Never raises and never blocks; without snapext's extension nothing more happens.
    """
    _before_snapshot.append((func, args, kwargs))
    _registered()
    return func


def register_after_restore(func: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[P, R]:
    """Have `func(*args, **kwargs)` called in this process after a restore, in order of registration.

    Usable as a decorator. `func` may be `async def`. A function registered twice runs twice. Returns `func`.
    Never raises and never blocks; without snapext's extension nothing more happens.
    """
    _after_restore.append((func, args, kwargs))
    _registered()
    return func


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


def _registered() -> None:
    """Link this process on its first hook, and tell the link about each one."""
    try:
        from snapext import (
            _link,
        )  # on first use: it brings sockets and threads, which importing snapext must not

        _link.hook_registered()
    except Exception as error:  # registering never raises
        if os.environ.get("SNAPEXT_LOG_LEVEL") == "debug":
            os.write(2, f"snapext: this process is not linked: {error!r}\n".encode())
