"""One phase: which members were told, what is left of its budget, and which of them still have to answer. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from snapext.wire.messages import HookCounts, Message
from snapext_extension.boundary.actions import SetTimer, Tell, TimerName
from snapext_extension.boundary.failures import MAX_NAMED, Late, Process
from snapext_extension.boundary.member import Key, Member
from snapext_extension.boundary.outbox import Outbox
from snapext_extension.boundary.roll import Roll


class Phase:
    """The phase that goes on, or the one before it when none does. `pending` and `hook` of each member are its own.

    hook_on_board: what the process of that number has written there for that generation, if it has. Called when a
    member is shown that has not answered: its name is all that depends on it.
    """

    def __init__(self, roll: Roll, outbox: Outbox, hook_on_board: Callable[[int, int], str | None]) -> None:
        self.started_ms = 0.0
        self._roll = roll
        self._outbox = outbox
        self._hook_on_board = hook_on_board
        self._generation = 0
        self._deadline_ms = 0.0
        self._last_id = 0
        self._last_pending: Key = 0

    def begin(self, generation: int, timeout_ms: int, now_ms: float) -> None:
        self.started_ms, self._generation = now_ms, generation
        for member in self._roll.members.values():
            member.told_ids.clear()
        self.renew_budget(timeout_ms, now_ms)

    def renew_budget(self, timeout_ms: int, now_ms: float) -> None:
        self._deadline_ms = now_ms + timeout_ms
        self._outbox.do(SetTimer(TimerName.PHASE, timeout_ms))

    def tell(self, key: int, make: Callable[[int, int], Message], now_ms: float) -> None:
        """Tell one member. What is left of the budget is all that it has.

        make: makes the message of its id and the milliseconds that are left.
        """
        member = self._roll.members[key]
        self._last_id += 1
        member.pending, member.told_ms, member.hook = self._last_id, now_ms, None
        if member.lost_ms is None:
            member.told_ids.add(self._last_id)
        self._outbox.do(Tell(key, make(self._last_id, max(1, int(self._deadline_ms - now_ms)))))

    def await_signalled(self, process: Process, signal: str, now_ms: float) -> Member:
        """A process was sent a signal: it is a member that has to answer."""
        self._last_id += 1
        member = Member(process, 0, HookCounts(), self._last_id, now_ms, signal=signal)
        self._roll.enter_signalled(member)
        return member

    def is_anyone_pending(self) -> bool:
        """The last pending one is asked first: to ask all of them at each answer would grow with their square."""
        last = self._roll.members.get(self._last_pending)
        if last is not None and last.pending is not None:
            return True
        for key, member in self._roll.members.items():
            if member.pending is not None:
                self._last_pending = key
                return True
        return False

    def hook_of(self, member: Member) -> str | None:
        """The hook that a member runs, as far as it is known."""
        if member.pending is None or member.signal is not None:
            return None
        return member.hook or self._hook_on_board(member.process.pid, self._generation)

    def late(self, now_ms: float) -> list[Late]:
        """The members that keep the phase from its end: they have not answered, or are not connected."""
        members = self._roll.members.values()
        return [m.late(now_ms, self.hook_of(m)) for m in members if m.pending is not None or m.lost_ms is not None]

    def still_running(self, now_ms: float) -> str:
        """The end of a sentence that names some members that have not answered; empty when there are none."""
        running = [str(m.late(now_ms, self.hook_of(m))) for m in self._roll.members.values() if m.pending is not None]
        return f", while these still run: {', '.join(running[:MAX_NAMED])}" if running else ""
