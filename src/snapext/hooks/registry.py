"""The hooks of this process, in order of registration.

The lists are those of snapshot_restore_py wherever that module can be imported, so that a hook counts whichever of the
two an app registers it with, and whichever it imports first. `import snapext` pays for this module.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would cost every cold start more than this module does
    from collections.abc import Callable
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


def _tell() -> None:
    when_registered()


_before_snapshot: list[Hook] = _Registry()
_after_restore: list[Hook] = _Registry()


def adopt() -> None:
    """Share our lists with snapshot_restore_py, where that is imported. Never raises."""
    global _before_snapshot, _after_restore
    other = sys.modules.get("snapshot_restore_py")
    if other is None or getattr(other, "__snapext__", False):  # absent, or our stand-in
        return
    try:
        from snapext.guest.primitives import importing

        with importing:  # not by everybody: an app waits for what is imported here
            from snapext.hooks import sharing

        _before_snapshot = sharing.shared(_before_snapshot, other, "before_snapshot", _tell)
        _after_restore = sharing.shared(_after_restore, other, "after_restore", _tell)
    except Exception as error:  # half imported by another thread, or something else of that name
        from snapext.guest import notice

        notice.debug(f"the hooks of snapshot_restore_py are not shared: {error!r}")


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
