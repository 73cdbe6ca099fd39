"""The commands at the door: `snapext checkpoint` and its like, and which of them wait for the boundary."""

from __future__ import annotations

from collections.abc import Iterator

from snapext.wire.messages import Result
from snapext_extension.boundary.actions import Tell


class Commands:
    """By connection. A command takes no part in the boundary: when it hangs up, that goes on."""

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}
        self._waiting: list[int] = []

    def joined(self, key: int, pid: int) -> None:
        self._pids[key] = pid

    def left(self, key: int) -> None:
        self._pids.pop(key, None)
        if key in self._waiting:
            self._waiting.remove(key)

    def wait(self, key: int) -> None:
        """From now on a command waits for the other side of the boundary."""
        if key not in self._waiting:
            self._waiting.append(key)

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def answer(self, result: Result) -> Iterator[Tell]:
        """Answer all that wait."""
        waiting, self._waiting = self._waiting, []
        return (Tell(key, result) for key in waiting)

    def pids(self) -> set[int]:
        return set(self._pids.values())

    def waiting_pids(self) -> frozenset[int]:
        return frozenset(self._pids[key] for key in self._waiting)
