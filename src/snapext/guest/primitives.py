"""Locks, threads, sleep and sockets, as they were when this process was linked.

gevent and eventlet replace them, even in modules and objects that are there already. Some of ours replaced and some not
would be worse than all or none (a greenlet that waits in a system call stops the app), so they are taken at one time.
eventlet also finds each threading.RLock that exists and replaces it: so we have one of our own.
"""

from __future__ import annotations

import _socket
import select
import sys
import time
from _thread import allocate_lock, get_ident, start_new_thread
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket as Socket  # noqa: N812 - it is a class
else:
    _of_app = getattr(sys.modules.get("socket"), "socket", None)
    _is_patched = getattr(_of_app, "__module__", "socket") != "socket"
    Socket = _of_app if _is_patched else _socket.socket
    """What gevent or eventlet has put there; else what is beneath `socket`, which takes 15 ms to import."""

__all__ = [
    "NATIVE",
    "Alarm",
    "Changes",
    "Lock",
    "Socket",
    "get_ident",
    "monotonic",
    "poll",
    "sleep",
    "start_new_thread",
]

poll: Callable[[], select.poll] | None = getattr(select, "poll", None)
"""None under eventlet, which takes it away."""
NATIVE = Socket.__module__ == _socket.__name__
"""Whether our thread is a real one: nobody had replaced anything when we came."""
SPIN_S = 0.0002
PATCHED_WAIT_S = 0.005


class Lock:
    """A re-entrant lock: a signal handler may fork, or ask for the status, in the middle of one of our own calls.

    To take it is a single operation on a dict, which a handler cannot interrupt. It is held for some microseconds, and
    never while anything is waited for (`importing` alone is held for an import), so a thread that finds it taken looks
    again.
    """

    __slots__ = ("_nested", "_owner")

    def __init__(self) -> None:
        self._owner: dict[int, tuple[int, object]] = {}
        self._nested = 0

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Take it, and return whether it is ours: not so if another thread holds it for `timeout_s` seconds."""
        mine = (get_ident(), object())
        deadline = None
        while True:
            owner = self._owner.setdefault(0, mine)
            if owner is mine:
                return True
            if owner[0] == mine[0]:
                self._nested += 1
                return True
            if timeout_s is not None:
                deadline = deadline or monotonic() + timeout_s
                if monotonic() >= deadline:
                    return False
            sleep(SPIN_S)

    def release(self) -> None:
        if self._nested:
            self._nested -= 1
        else:
            self._owner.clear()

    def raw(self) -> tuple[Callable[[int, tuple[int, object]], tuple[int, object]], Callable[[], None]]:
        """The two functions that take it and give it back: straight.py calls them without a method in between.

        The first, called with 0 and a value that no other thread has, returns that value if it has taken the lock.
        Not to be nested.
        """
        return self._owner.setdefault, self._owner.clear

    def free(self) -> None:
        """In a fork: of the parent's threads none is left that could release it."""
        self._owner, self._nested = {}, 0

    def is_mine(self) -> bool:
        owner = self._owner.get(0)
        return owner is not None and owner[0] == get_ident()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


importing = Lock()
"""Held while our thread imports: a fork in the middle would leave the import's lock taken in the child."""


class Alarm:
    """A pause that another thread can end."""

    __slots__ = ("_bell",)

    def __init__(self) -> None:
        self._bell = allocate_lock()
        self._bell.acquire()

    def wait(self, timeout_s: float) -> None:
        self._bell.acquire(True, timeout_s)

    def ring(self) -> None:
        """End the pause, or the next one. To be called once."""
        self._bell.release()


class Changes:
    """Wait for a change that another thread makes."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[object] = []
        """Who is to be woken, always in this one list: none is while it is empty."""

    def happened(self) -> None:
        waiting = self.waiting[:]
        del self.waiting[: len(waiting)]
        for waiter in waiting:
            waiter.release()  # type: ignore[attr-defined]  # a lock; its type has no name before 3.13

    def wait_for(self, predicate: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `predicate` is true, for `timeout_s` seconds at most (None: no limit), and return it."""
        deadline = None if timeout_s is None else monotonic() + timeout_s
        while not predicate():
            left_s = None if deadline is None else deadline - monotonic()
            if left_s is not None and left_s <= 0:
                return False
            if time.sleep is not sleep:  # the app has been patched since: our own way would stop all its greenlets
                time.sleep(PATCHED_WAIT_S if left_s is None else min(PATCHED_WAIT_S, left_s))
                continue
            waiter = allocate_lock()
            waiter.acquire()
            self.waiting.append(waiter)
            if not predicate():  # it may have happened before we were in the list
                waiter.acquire(True, -1 if left_s is None else left_s)
        return True
