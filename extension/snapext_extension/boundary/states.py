"""The states of the boundary, and every way from one to another. docs/lifecycle.py draws it."""

from __future__ import annotations

import enum

from snapext.wire import phases


class State(enum.Enum):
    __hash__ = object.__hash__  # that of Enum is written in Python
    INIT = "init"
    BEFORE_SNAPSHOT = phases.BEFORE_SNAPSHOT
    SNAPSHOT = "snapshot"
    AFTER_RESTORE = phases.AFTER_RESTORE
    READY = "ready"
    FAILED = "failed"
    SHUTDOWN = "shutdown"


class Trigger(enum.Enum):
    __hash__ = object.__hash__
    APP_COMPLETE = "the app is ready and its processes have joined"
    NO_BOUNDARY = "the app is ready; the environment takes no snapshot"
    ALL_DONE = "every process is done"
    RESTORED = "the environment has been restored"
    FAILURE = "something failed"
    SHUTDOWN = "the platform says SHUTDOWN"


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    (State.INIT, Trigger.APP_COMPLETE): State.BEFORE_SNAPSHOT,
    (State.INIT, Trigger.NO_BOUNDARY): State.READY,
    (State.BEFORE_SNAPSHOT, Trigger.ALL_DONE): State.SNAPSHOT,
    (State.SNAPSHOT, Trigger.RESTORED): State.AFTER_RESTORE,
    (State.AFTER_RESTORE, Trigger.ALL_DONE): State.READY,
    (State.INIT, Trigger.FAILURE): State.FAILED,
    (State.BEFORE_SNAPSHOT, Trigger.FAILURE): State.FAILED,
    (State.SNAPSHOT, Trigger.FAILURE): State.FAILED,
    (State.AFTER_RESTORE, Trigger.FAILURE): State.FAILED,
    (State.READY, Trigger.FAILURE): State.FAILED,
    (State.INIT, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.BEFORE_SNAPSHOT, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.SNAPSHOT, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.AFTER_RESTORE, Trigger.SHUTDOWN): State.SHUTDOWN,
    (State.READY, Trigger.SHUTDOWN): State.SHUTDOWN,
}

ENDED = frozenset({State.FAILED, State.SHUTDOWN})
