"""One thread that waits for file descriptors, timers and signals, and calls back. All the extension's work is in it."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT

_NEVER_MS = float("inf")


def now_ms() -> float:
    """The extension's clock, in milliseconds. CLOCK_MONOTONIC stands still across the snapshot, as its budgets need."""
    return time.monotonic() * 1000


class Reactor:
    """Callbacks by file descriptor and by signal, and named timers of which each fires once.

    What a callback raises ends run(), and reaches the caller of run().
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._events: dict[int, int] = {}
        self._new: set[int] = set()
        self._timers: dict[object, tuple[float, Callable[[], None]]] = {}
        self._next_due_ms = _NEVER_MS  # no timer is due before
        self._signals = _Signals()
        self._running = False

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call back when `fd` is ready for `events`, or broken. Watching it again replaces what was there."""
        if fd not in self._callbacks:
            self._epoll.register(fd, events)
            self._new.add(fd)
        elif self._events[fd] != events:
            self._epoll.modify(fd, events)
        self._callbacks[fd], self._events[fd] = callback, events

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed. Unknown descriptors are fine."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def call(self, fd: int) -> None:
        """Call back for a descriptor that is ready."""
        self._callbacks[fd]()

    def set_timer(self, name: object, after_ms: float, callback: Callable[[], None]) -> None:
        due_ms = now_ms() + after_ms
        self._timers[name] = (due_ms, callback)
        self._next_due_ms = min(self._next_due_ms, due_ms)

    def cancel_timer(self, name: object) -> None:
        self._timers.pop(name, None)

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call back, in run(), when this process gets a signal. Only the main thread may ask for it."""
        if self._signals.add(number, callback):
            self.watch(self._signals.pipe, self._signals.read)

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        """Give back the descriptors, and the signals to their former handlers. It cannot run again."""
        self._signals.close()
        self._callbacks.clear()
        self._epoll.close()

    def run(self) -> None:
        """Serve until stop() is called."""
        self._running = True
        while self._running:
            self._new.clear()
            for fd, _ in self.wait():
                # An earlier callback of this round may have closed it, and its number may belong to another by now,
                # which this event is not about. If that one is ready too, the next round says so.
                callback = self._callbacks.get(fd) if fd not in self._new else None
                if callback is not None and self._running:
                    callback()
            if self._timers and now_ms() >= self._next_due_ms:
                self._fire_timers()

    def wait(self, until_ms: float = _NEVER_MS) -> list[tuple[int, int]]:
        """Which descriptors are ready, and for what; none once a timer is due, or at `until_ms`."""
        if self._timers and self._next_due_ms < until_ms:
            until_ms = self._next_due_ms
        if until_ms == _NEVER_MS:
            return self._epoll.poll()
        left_s = until_ms / 1000 - time.monotonic()
        return self._epoll.poll(left_s if left_s > 0 else 0)

    def _fire_timers(self) -> None:
        """Nothing fires where the timer that was due has been cancelled, or set anew, since."""
        now = now_ms()
        for name, (due, callback) in sorted(self._timers.items(), key=lambda item: item[1][0]):
            if due <= now and self._timers.get(name) == (due, callback) and self._running:
                del self._timers[name]
                callback()
        self._next_due_ms = min((due for due, _ in self._timers.values()), default=_NEVER_MS)


class _Signals:
    """Signals as bytes in a pipe (signal.set_wakeup_fd), so that they take their turn like everything else."""

    def __init__(self) -> None:
        self.pipe = self._wake = self._former_wake = -1
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._former: dict[int, signal._HANDLER] = {}

    def add(self, number: int, callback: Callable[[], None]) -> bool:
        """Returns whether the pipe is new."""
        new = self.pipe < 0
        if new:
            self.pipe, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._former_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._callbacks[number] = callback
        # Without a handler in Python nothing is written to the pipe.
        self._former.setdefault(number, signal.signal(number, lambda *_: None))
        return new

    def read(self) -> None:
        try:
            received = os.read(self.pipe, 4096)
        except BlockingIOError:
            return
        for number in sorted(set(received) & set(self._callbacks)):
            self._callbacks[number]()

    def close(self) -> None:
        if self.pipe < 0:
            return
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._former_wake)
        os.close(self.pipe)
        os.close(self._wake)
        self.pipe = self._wake = -1
