"""The handlers of the two signals, for apps that cannot have a thread of ours: gevent, uWSGI without threads.

They run in the main thread, as Python's do. They only say that there is something to do: what it is, and how it went,
is said on the socket.
"""

from __future__ import annotations

import signal
import sys

from snapext.errors import ConfigError
from snapext.wire import signal_names
from snapext.wire.phases import PHASES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

_installed = False


def install(environ: Mapping[str, str], answer: Callable[[str], None]) -> str | None:
    """Have `answer(phase)` called at either signal. A handler that is there already is called after that.

    Returns why it cannot be done, if it cannot. A second call changes nothing.
    """
    global _installed
    if _installed:
        return None
    try:
        numbers = signal_names.parse({signal_names.ENV_SIGNALS: "1", **environ})
        if numbers is None:
            return f"{signal_names.ENV_SIGNALS}=0"
        for phase, number in zip(PHASES, numbers, strict=True):
            _install_one(phase, number, answer)
    except ConfigError as error:
        return str(error)
    except ValueError:
        return "a handler can be installed in the main thread only: register the first hook there"
    _installed = True
    return None


def _install_one(phase: str, number: int, answer: Callable[[str], None]) -> None:
    previous = signal.getsignal(number)

    def handle(received: int, frame: FrameType | None) -> None:
        _where_it_may_wait(lambda: answer(phase))
        if callable(previous):
            previous(received, frame)

    signal.signal(number, handle)


def _where_it_may_wait(call: Callable[[], None]) -> None:
    """Call at once; under gevent in a greenlet: the handler may run in the hub, where nothing may wait."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        sys.modules["gevent"].spawn(call)
    else:
        call()
