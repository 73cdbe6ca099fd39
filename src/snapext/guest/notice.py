"""What a person has to know reaches standard error: one line for each kind of message, whatever the app does with it.

Never waits, never raises, never ends the process: the app may have closed descriptor 2, have filled the pipe behind
it, or have another file there, and it may have put SIGPIPE back to its default.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` imports enum; this is what is beneath it
import os
import stat
from os import write  # eventlet replaces os.write

MAX_BYTES = 2_000
"""Less than a pipe takes in one piece (PIPE_BUF), so that the lines of several processes do not mix."""
MAX_KINDS = 20

_said: set[str] = set()


def once(kind: str, line: str) -> None:
    """Say a line, unless this process has said one of its kind. What could not be written is said the next time."""
    if kind not in _said and len(_said) < MAX_KINDS and _say(f"snapext: {line}"):
        _said.add(kind)


def info(kind: str, line: str) -> None:
    """Say a line once, unless SNAPEXT_LOG_LEVEL asks for warnings alone."""
    if os.environ.get("SNAPEXT_LOG_LEVEL") not in ("warning", "error"):
        once(kind, line)


def debug(line: str) -> None:
    """Say a line where SNAPEXT_LOG_LEVEL=debug."""
    if os.environ.get("SNAPEXT_LOG_LEVEL") == "debug":
        _say(f"snapext: process {os.getpid()}: {line}")


def _say(line: str) -> bool:
    try:
        # What Python opens is never inherited, and standard error always is: the app has put something else there.
        if not os.get_inheritable(2):
            return False
        text = " ".join(line.split()).encode(errors="backslashreplace")[:MAX_BYTES] + b"\n"
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGPIPE,))
        try:
            _write_at_once(text)
        except BrokenPipeError:
            if _signal.SIGPIPE not in mask:
                _signal.sigtimedwait((_signal.SIGPIPE,), 0)
            raise
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    except Exception:  # there is nobody left to tell
        return False
    return True


def _write_at_once(text: bytes) -> None:
    """Write or raise. A pipe is opened once more: the app would notice if its own descriptor did not block."""
    mode = os.fstat(2).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            own = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (PermissionError, FileNotFoundError):  # made by another user, or no /proc: look before writing
            pass
        else:
            try:
                write(own, text)
            finally:
                os.close(own)
            return
    if not stat.S_ISREG(mode):
        import select

        if not select.select((), (2,), (), 0)[1]:
            raise BlockingIOError
    write(2, text)
