"""One thread that waits for file descriptors and timers, and calls back. All that the extension does happens in it."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT


def now_ms() -> float:
    """The extension's clock, in milliseconds. CLOCK_MONOTONIC stands still across the snapshot, as its budgets need."""
    return time.monotonic() * 1000


class Reactor:
    """Callbacks by file descriptor, and named timers of which each fires once."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._events: dict[int, int] = {}
        self._timers: dict[object, tuple[float, Callable[[], None]]] = {}
        self._running = False

    def watch(self, fd: int, callback: Callable[[], None], events: int = READ) -> None:
        """Call back when `fd` is ready for `events`, or broken. Watching it again replaces what was there."""
        if fd not in self._callbacks:
            self._epoll.register(fd, events)
        elif self._events[fd] != events:
            self._epoll.modify(fd, events)
        self._callbacks[fd], self._events[fd] = callback, events

    def unwatch(self, fd: int) -> None:
        """Forget `fd`; to be called before it is closed. Unknown descriptors are fine."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def set_timer(self, name: object, after_ms: float, callback: Callable[[], None]) -> None:
        self._timers[name] = (now_ms() + after_ms, callback)

    def cancel_timer(self, name: object) -> None:
        self._timers.pop(name, None)

    def stop(self) -> None:
        self._running = False

    def run(self) -> None:
        """Serve until stop() is called."""
        self._running = True
        while self._running:
            for fd, _ in self._epoll.poll(self._seconds_to_next_timer()):
                callback = self._callbacks.get(fd)  # an earlier callback of this round may have closed it
                if callback is not None and self._running:
                    callback()
            self._fire_timers()

    def _seconds_to_next_timer(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, min(due for due, _ in self._timers.values()) - now_ms()) / 1000

    def _fire_timers(self) -> None:
        now = now_ms()
        for name, (due, callback) in sorted(self._timers.items(), key=lambda item: item[1][0]):
            if due <= now and self._timers.get(name) == (due, callback) and self._running:
                del self._timers[name]
                callback()
