"""The handler of the signal by which a hook is called in the app's main thread: one for the life of the process.

It can be installed in the main thread alone, so it is there before an extension is: `main_thread` says what it does.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns

from snapext.guest import notice
from snapext.link import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

ENV = "SNAPEXT_HOOK_THREAD"
FIRST_SIGNAL, LAST_SIGNAL = 6, 15
"""Above RTMIN: +4 and +5 are those of SNAPEXT_SIGNALS, the C library has those below RTMIN."""

number = 0
"""Of the signal; 0 if there is no handler."""
answer: Callable[[FrameType | None], None] | None = None
"""What the handler does, called with the frame that it has interrupted."""


def install(environ: Mapping[str, str]) -> None:
    """Install the handler, once. In another thread than the main one this does nothing, and never raises."""
    global number
    if number or environ.get(ENV) == "link" or not process.is_main_thread():
        return
    try:
        taken = _numbers_of_snapext_signals(environ)
        numbers = range(_signal.SIGRTMIN + FIRST_SIGNAL, _signal.SIGRTMIN + LAST_SIGNAL + 1)
        found = next((n for n in numbers if n not in taken and _signal.getsignal(n) == _signal.SIG_DFL), 0)
        if found:
            _signal.signal(found, _handle)
            _signal.siginterrupt(found, False)  # SA_RESTART: for system calls of code that is not Python
            number = found
    except Exception as error:  # no such signals here, or a misspelt name
        notice.debug(f"hooks cannot run in the main thread: {error!r}")


def is_there() -> bool:
    """Whether it is installed, and nobody has replaced it."""
    return bool(number) and _signal.getsignal(number) is _handle


def _numbers_of_snapext_signals(environ: Mapping[str, str]) -> tuple[int, ...]:
    """A handler for one of them would look as if this process was to be signalled."""
    if "SNAPEXT_SIGNALS" not in environ:
        return ()
    from snapext.wire import signal_names  # it makes enums

    return signal_names.parse(environ) or ()


def _handle(_number: int, frame: FrameType | None) -> None:
    if answer is not None:
        answer(frame)
