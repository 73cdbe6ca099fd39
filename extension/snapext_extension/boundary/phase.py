"""One phase: which members were told, what is left of its budget, and which of them are late. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from snapext.wire.messages import HookCounts, Message
from snapext.wire.phases import AFTER_RESTORE
from snapext_extension.boundary.actions import SetTimer, Tell, TellAll, TimerName
from snapext_extension.boundary.failures import MAX_NAMED, Late, Process
from snapext_extension.boundary.member import Key, Member
from snapext_extension.boundary.outbox import Outbox
from snapext_extension.boundary.roll import Roll


class Phase:
    """The phase that goes on, or the one before it when none does.

    id: its number, which every member is told and names in its answer.
    hook_on_board: what the process of that number has written there for that generation, if it has. Called when a
    member is shown that has not answered: its name is all that depends on it.
    """

    def __init__(self, roll: Roll, outbox: Outbox, hook_on_board: Callable[[int, int], str | None]) -> None:
        self.id = 0
        self.started_ms = 0.0
        self._roll = roll
        self._outbox = outbox
        self._hook_on_board = hook_on_board
        self._generation = 0
        self._deadline_ms = 0.0

    def begin(self, generation: int, timeout_ms: int, now_ms: float) -> None:
        self.id += 1
        self.started_ms, self._generation = now_ms, generation
        for member in self._roll.members.values():
            member.reached = False
        self.renew_budget(timeout_ms, now_ms)

    def renew_budget(self, timeout_ms: int, now_ms: float) -> None:
        self._deadline_ms = now_ms + timeout_ms
        self._outbox.do(SetTimer(TimerName.PHASE, timeout_ms))

    def tell(self, key: int, make: Callable[[int, int], Message], now_ms: float) -> None:
        """Tell one member. What is left of the budget is all that it has.

        make: makes the message of the phase's id and the milliseconds that are left.
        """
        self._await(key, now_ms)
        self._outbox.do(Tell(key, make(self.id, max(1, int(self._deadline_ms - now_ms)))))

    def tell_all(self, make: Callable[[int, int], Message], now_ms: float) -> None:
        """Tell the same to every member that has a connection, or had: a lost one is told again when it is back."""
        keys = self._roll.on_socket()
        for key in keys:
            self._await(key, now_ms)
        if keys:
            self._outbox.do(TellAll(tuple(keys), make(self.id, max(1, int(self._deadline_ms - now_ms)))))

    def went_straight(self, began_ms: float, timeout_ms: int, durations_ms: Mapping[Key, float]) -> None:
        """All were told at `began_ms` that the environment has been restored, and these have answered since."""
        self.id += 1
        self.started_ms, self._deadline_ms, self._generation = began_ms, began_ms + timeout_ms, 1
        for key, member in self._roll.members.items():
            member.told_ms, member.hook, member.reached = began_ms, None, True
            if key in durations_ms:
                member.durations_ms[AFTER_RESTORE] = durations_ms[key]
            else:
                self._roll.wait_for(key)

    def _await(self, key: int, now_ms: float) -> None:
        member = self._roll.members[key]
        member.told_ms, member.hook = now_ms, None
        if member.lost_ms is None:
            member.reached = True
        self._roll.wait_for(key)

    def await_signalled(self, process: Process, signal: str, now_ms: float) -> Member:
        """A process was sent a signal: it is a member that has to answer."""
        member = Member(process, 0, HookCounts(), signal=signal)
        member.told_ms = now_ms
        self._roll.enter_signalled(member)
        return member

    def hook_of(self, member: Member) -> str | None:
        """The hook that a member runs, as far as it is known."""
        if not member.pending or member.signal is not None:
            return None
        return member.hook or self._hook_on_board(member.process.pid, self._generation)

    def late(self, now_ms: float) -> list[Late]:
        """The members that keep the phase from its end: they have not answered, or are not connected."""
        members = self._roll.members.values()
        return [m.late(now_ms, self.hook_of(m)) for m in members if m.pending or m.lost_ms is not None]

    def still_running(self, now_ms: float) -> str:
        """The end of a sentence that names some members that have not answered; empty when there are none."""
        running = [str(m.late(now_ms, self.hook_of(m))) for m in self._roll.members.values() if m.pending]
        return f", while these still run: {', '.join(running[:MAX_NAMED])}" if running else ""
