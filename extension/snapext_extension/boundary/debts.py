"""What a process owes the boundary, and what it means when it leaves or registers a hook: the rules, by the state.

No I/O, and no memory: all that they depend on is given.
"""

from __future__ import annotations

import enum

from snapext.wire.phases import AFTER_RESTORE
from snapext_extension.boundary.events import Joined
from snapext_extension.boundary.member import Member
from snapext_extension.boundary.settings import Identity
from snapext_extension.boundary.states import State

CROSSING = frozenset({State.BEFORE_SNAPSHOT, State.SNAPSHOT, State.AFTER_RESTORE})


def owes_after_restore(joined: Joined, identity: Identity | None) -> bool:
    """Whether a process that joins now holds state from before the snapshot that no hook has renewed yet.

    A fork of such a process is as old as its parent in that respect, whenever it was forked; a fork of a process whose
    hooks have run carries the generation it had then. identity: None before the restore.
    """
    if identity is None or joined.hello.generation >= 1:
        return False
    return joined.hello.forked or identity.comes_after_process(joined.start_ticks, joined.process.pid)


def owes_when_lost(member: Member, state: State, *, is_restored: bool) -> bool:
    """Whether a member that has lost its connection, and lives, still has something to run in this boundary."""
    if member.pending:
        return is_restored or member.total_hooks() > 0  # after the restore `random` is reseeded as well
    if state is State.INIT:
        return member.importing or member.total_hooks() > 0
    return state in (State.BEFORE_SNAPSHOT, State.SNAPSHOT) and member.hooks.after_restore > 0


class End(enum.Enum):
    """What it means that a member ended, or executes another program."""

    HARMLESS = "it had not been told its phase, or is done"
    SPARED = "no clone will contain it, and nothing else is in doubt: a pool's child that its parent has ended, say"
    NOTHING_TO_RUN = "it had nothing to run, and no clone will contain it"
    IN_ITS_HOOKS = "its hooks were running, or about to run: the phase has failed"


def end_of(member: Member, phase: str, state: State) -> End:
    if not member.pending or not member.was_told():
        return End.HARMLESS
    if state is State.BEFORE_SNAPSHOT and member.forked:
        return End.SPARED
    if member.hook is None and not member.has_hooks(phase):
        return End.NOTHING_TO_RUN
    return End.IN_ITS_HOOKS


def is_too_late(member: Member, hooks_phase: str, current_phase: str, state: State) -> bool:
    """Whether a hook that was registered just now can never run.

    hooks_phase: the one that it was registered for. A hook that is registered while its phase runs runs in it.
    """
    if state is State.INIT or (member.pending and hooks_phase == current_phase):
        return False
    return hooks_phase != AFTER_RESTORE or current_phase == AFTER_RESTORE
