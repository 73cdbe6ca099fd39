"""The actions of one turn, in the order in which they are to be carried out."""

from __future__ import annotations

from collections.abc import Iterable

from snapext_extension.boundary.actions import Action


class Outbox:
    """All parts of the lifecycle put their actions here; the lifecycle hands them out at the end of a turn."""

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def do(self, action: Action) -> None:
        self._actions.append(action)

    def do_all(self, actions: Iterable[Action]) -> None:
        self._actions.extend(actions)

    def take(self) -> list[Action]:
        if not self._actions:
            return []
        actions, self._actions = self._actions, []
        return actions
