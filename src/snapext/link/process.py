"""What this process is called, and whether its main thread is in the middle of an import. Nothing here raises."""

from __future__ import annotations

import os
import sys
from _thread import get_ident, get_native_id
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

MAX_NAME_CHARS = 100
FIRST_LOOK_S, MAX_LOOK_S = 0.005, 0.05
"""How often to look whether the main thread still imports."""
RETURNS_WITHIN_S = 0.2
"""A child that goes on with the import that it was forked in is back there by then."""
IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


def _look_up_main_thread() -> int:
    if "threading" not in sys.modules and get_native_id() == os.getpid():  # its import takes 4 ms
        return get_ident()
    import threading

    return threading.main_thread().ident or 0


# Looked up once: a fork makes another thread the main one, and patching may give each greenlet an ident of its own.
_main_thread = _look_up_main_thread()
_inherited: tuple[int, int] | None = None
"""The module that this process was forked in the middle of importing: its frame, by id, and where it stood."""
_forked_at_s = 0.0


def forked() -> None:
    """A fork has been noticed in the child: there the thread that forked is the main one."""
    global _main_thread
    _main_thread = get_ident()


def forks_now() -> None:
    """The same, in the very moment of the fork.

    A pool that an app makes while it is imported forks its processes within that import, and they never return to it.
    A daemon does at once.
    """
    global _inherited, _forked_at_s
    forked()
    _forked_at_s = monotonic()
    frame, _inherited = sys._getframe(), None
    while (back := frame.f_back) is not None and _inherited is None:
        if back.f_code.co_filename == IMPORT_SYSTEM:
            _inherited = (id(frame), frame.f_lasti)
        frame = back


def main_thread() -> int:
    """The ident of the main thread, as the system knows it."""
    return _main_thread


def is_main_thread() -> bool:
    return get_ident() == _main_thread


def imports() -> bool:
    """Whether the main thread is in the middle of an import, where more hooks may be about to be registered."""
    frame = sys._current_frames().get(_main_thread)
    while frame is not None:
        if frame.f_code.co_filename == IMPORT_SYSTEM:
            return True
        if (id(frame), frame.f_lasti) == _inherited and monotonic() - _forked_at_s > RETURNS_WITHIN_S:
            return False  # the import has stood still here since the fork: it is the parent's
        frame = frame.f_back
    return False


def imported_module() -> str:
    """What the main thread is importing: the module that was asked for, and where in it the import has got to."""
    try:
        names = _imported_names(sys._current_frames().get(_main_thread))
        if names:
            return names[-1] if names[-1] == names[0] else f"{names[-1]} (now in {names[0]})"
    except Exception:  # noqa: S110 - the frames are those of a thread that goes on, and this is for a person
        pass
    return "a module"


def _imported_names(frame: FrameType | None) -> list[str]:
    """The modules that are being imported, the innermost first."""
    names = []
    while frame is not None:
        if frame.f_code.co_filename == IMPORT_SYSTEM and frame.f_code.co_name == "_find_and_load":
            names.append(str(frame.f_locals["name"]))
        elif frame.f_code.co_filename.startswith("<frozen importlib") and frame.f_code.co_name == "exec_module":
            names.append(str(frame.f_locals["module"].__name__))  # by a loader, as servers import their settings
        frame = frame.f_back
    return names


def name() -> str:
    """What a person would call this process: its script, or its name in a multiprocessing pool."""
    try:
        return str(_own_name())[:MAX_NAME_CHARS]
    except Exception:  # whatever the app has put into sys.argv
        return "python"


def _own_name() -> object:
    # It may be half imported by another thread.
    current = getattr(sys.modules.get("multiprocessing.process"), "current_process", None)
    if current is not None:
        own: object = current().name
        if own != "MainProcess":
            return own
    argv = sys.argv
    script = os.path.basename(argv[0]) if argv and argv[0] not in ("", "-c", "-m") else "python"
    if script == "__main__.py":  # python -m package
        script = os.path.basename(os.path.dirname(argv[0]))
    return script
