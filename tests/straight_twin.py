"""A machine to whose restore nothing unusual happens, beside the same one that takes an event for each step.

What a twin says and is afterwards has to be what the other one said and is.
"""

from __future__ import annotations

import enum
from typing import Any

from snapext.wire.messages import AfterRestore, Done
from snapext_extension.boundary.actions import (
    Action,
    AnswerReadiness,
    CancelTimer,
    ForgetHungUp,
    Report,
    SetTimer,
    TellAll,
    TimerName,
)
from snapext_extension.boundary.events import Event, ReadinessAsked, RestoreReturned, Said
from snapext_extension.boundary.lifecycle import Lifecycle
from snapext_extension.boundary.member import Key
from snapext_extension.boundary.settings import Identity
from snapext_extension.boundary.straight import Plan
from snapext_extension.data import Data

NOT_COMPARED = {"_now_ms", "_checks", "_outbox"}
"""The moment of the last event; the checks before the snapshot, which nothing reads after it; what was handed out."""


def is_part(value: object) -> bool:
    """Whether it is a part of the machine that changes."""
    return type(value).__module__.startswith("snapext_extension.boundary.") and not isinstance(value, (Data, enum.Enum))


def names(part: object) -> list[str]:
    return [*vars(part)] if hasattr(part, "__dict__") else [*type(part).__slots__]  # type: ignore[attr-defined]


def copied(value: Any, known: dict[int, Any]) -> Any:
    """A copy of a machine and its parts; the parts may hold one another. What does not change is shared."""
    if id(value) in known:
        return known[id(value)]
    if is_part(value):
        known[id(value)] = copy = object.__new__(type(value))
        for name in names(value):
            setattr(copy, name, copied(getattr(value, name), known))
        return copy
    if isinstance(value, dict):
        known[id(value)] = copy = {key: copied(item, known) for key, item in value.items()}
        return copy
    if isinstance(value, (set, list)):
        known[id(value)] = copy = type(value)(value)
        return copy
    return value


def picture(value: Any) -> Any:
    """All that a machine holds, for a comparison."""
    if is_part(value):
        return {name: picture(getattr(value, name)) for name in names(value) if name not in NOT_COMPARED}
    if isinstance(value, dict):
        return {key: picture(item) for key, item in value.items()}
    return value


class Twin:
    """Carries out the plan of a machine that is in front of its restore, as the extension does."""

    def __init__(self, machine: Lifecycle, plan: Plan) -> None:
        self._machine = copied(machine, {})
        self._plan = plan
        self._durations_ms: dict[Key, float] = {}
        self._answers: list[tuple[int, Done]] = []
        self._began_ms = 0.0
        self._identity: Identity | None = None
        self.is_over = False

    @classmethod
    def before(cls, machine: Lifecycle, event: Event) -> Twin | None:
        """A twin of a machine that is about to take an event, if it can go straight from there."""
        plan = machine.plan()
        if plan is None:
            return None
        shows_it = isinstance(event, ReadinessAsked) if plan.by_check else event == RestoreReturned(200, "")
        return cls(machine, plan) if shows_it else None

    def restored(self, new: Identity, now_ms: float) -> list[Action]:
        self._identity, self._began_ms, plan = new, now_ms, self._plan
        told = AfterRestore(plan.id, 1, plan.timeout_ms, new.environment_id, new.restored_at, new.restored_monotonic)
        done: list[Action] = [SetTimer(TimerName.PHASE, plan.timeout_ms), TellAll((*plan.hooks,), told)]
        report = Report("debug", "restore", {"environment_id": new.environment_id})
        return [*done, report] if plan.debug else done

    def take(self, event: Event, now_ms: float) -> list[Action]:
        """What is done because of the next event."""
        if isinstance(event, Said) and isinstance(event.message, Done) and self._is_plain(event.key, event.message):
            self._durations_ms[event.key] = event.message.duration_ms
            self._answers.append((event.key, event.message))
            done: list[Action] = [self._machine.answer_of_plan(event.key, event.message)] if self._plan.debug else []
            if len(self._durations_ms) < len(self._plan.hooks):
                return done
            duration_ms = round(now_ms - self._began_ms, 3)
            measured = self._machine.measured_in_plan(self._answers)  # nothing, unless it is asked for
            fields = {"processes": len(self._durations_ms), "duration_ms": duration_ms, **measured}
            ready = Report("info", "ready", fields)
            assert self._crossed(now_ms) == ()
            return [*done, CancelTimer(TimerName.PHASE), ForgetHungUp(), AnswerReadiness(), ready]
        left_ms = max(0.0, self._began_ms + self._plan.timeout_ms - now_ms)
        assert self._crossed(now_ms) == (SetTimer(TimerName.PHASE, left_ms),)
        return [*self._machine.handle(event, now_ms)]

    def must_be_as(self, machine: Lifecycle) -> None:
        assert picture(self._machine) == picture(machine)

    def _is_plain(self, key: int, done: Done) -> bool:
        if key not in self._plan.hooks or key in self._durations_ms or not done.ok or done.id != self._plan.id:
            return False
        return done.registered is None or done.registered >= self._plan.hooks[key]

    def _crossed(self, now_ms: float) -> object:
        self.is_over = True
        return self._machine.crossed(self._identity, self._began_ms, self._durations_ms, now_ms)
