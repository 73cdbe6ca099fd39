"""Notice that the wall clock is set: the platform does that after a restore, and nothing else says when.

The kernel cancels a timer on the wall clock that asked for it (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET) at every
clock_settime(2), so nothing polls. `os` has these calls from Python 3.13 on; `_ctypes` is what is beneath `ctypes`.
"""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Callable

from snapext_extension.reactor import Reactor

CANCEL_ON_SET = 1 | 2  # TFD_TIMER_ABSTIME, without which the kernel ignores it, and TFD_TIMER_CANCEL_ON_SET
NEVER = struct.pack("qqqq", 0, 0, 1 << 33, 0)  # struct itimerspec: no interval, and the year 2242


SIMULATED_EVERY_MS = 10


class SimulatedClockWatch:
    """The same under `snapext simulate`, whose clock (snapext.clock.simulated) no kernel knows of: it is polled."""

    def __init__(self, reactor: Reactor, on_set: Callable[[float], None], wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self._on_set = on_set
        self._wall = wall

    def start(self) -> None:
        ahead_s = self._wall() - time.time()
        if ahead_s > 1:
            self._on_set(ahead_s)
        else:
            self._reactor.set_timer(self, SIMULATED_EVERY_MS, self.start)


class ClockWatch:
    """Calls `on_set` with the seconds by which the wall clock was set; it is negative if the clock was set back.

    fd: what the reactor watches for it; -1 where nothing is watched.
    """

    def __init__(self, reactor: Reactor, on_set: Callable[[float], None]) -> None:
        self._reactor = reactor
        self._on_set = on_set
        self.fd = -1
        self._offset_s = 0.0

    def start(self) -> str | None:
        """Begin to watch; returns why it cannot, if so. Never raises: a restore is shown by other things as well."""
        try:
            self.fd = _timer()
            self._offset_s = _offset_s()
            self._reactor.watch(self.fd, self._read)
        except Exception as error:  # a Python without these calls
            return repr(error)
        return None

    def close(self) -> None:
        if self.fd >= 0:
            self._reactor.unwatch(self.fd)
            os.close(self.fd)
            self.fd = -1

    def _read(self) -> None:
        try:
            os.read(self.fd, 8)
        except OSError as error:
            if error.errno == errno.ECANCELED:
                before, self._offset_s = self._offset_s, _offset_s()
                self._on_set(self._offset_s - before)


def _offset_s() -> float:
    return (time.time_ns() - time.monotonic_ns()) / 1e9


def _timer() -> int:
    import _ctypes  # 1 ms, and only where there is a snapshot

    handle = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # None: what is loaded already
    flags = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are the same
    fd: int = _ctypes.call_cdeclfunction(_ctypes.dlsym(handle, "timerfd_create"), (time.CLOCK_REALTIME, flags))
    if fd < 0:
        raise OSError("no timer on the wall clock")
    if _ctypes.call_cdeclfunction(_ctypes.dlsym(handle, "timerfd_settime"), (fd, CANCEL_ON_SET, NEVER, None)):
        os.close(fd)
        raise OSError("no timer that is cancelled when the clock is set")
    return fd
