"""What this process is called, and whether it is still being imported."""

from __future__ import annotations

import os
import sys
import threading
import time

MAX_IMPORT_WAIT_S = 5.0
MAX_NAME_CHARS = 100


def let_imports_end(timeout_ms: int) -> None:
    """Wait until the main thread is not in the middle of an import, where more hooks may be about to be registered.

    Bounded, because a program may well serve from within an import. This is on the path of init, never of a restore.
    """
    if threading.current_thread() is threading.main_thread():
        return  # a signal's handler: what it interrupted cannot go on before it returns
    deadline = time.monotonic() + min(MAX_IMPORT_WAIT_S, timeout_ms / 2000)
    while _main_thread_imports() and time.monotonic() < deadline:
        time.sleep(0.005)


def _main_thread_imports() -> bool:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def name() -> str:
    """What a person would call this process: its script, or its name in a multiprocessing pool."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        own = multiprocessing.current_process().name
        if own != "MainProcess":
            return str(own)[:MAX_NAME_CHARS]
    script = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    if script == "__main__.py":  # python -m package
        script = os.path.basename(os.path.dirname(sys.argv[0]))
    return script[:MAX_NAME_CHARS]
