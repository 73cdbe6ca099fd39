"""The roll of members: which take part, which have lost their connection, and whose end is still worth knowing. No I/O.

A member that lives and has lost its connection owes its hooks: it stays on the roll until it comes back, ends, or
executes another program. What it owes depends on the state: debts.py.
"""

from __future__ import annotations

from snapext.wire.messages import HookCounts
from snapext.wire.phases import BEFORE_SNAPSHOT
from snapext_extension.boundary import reports
from snapext_extension.boundary.actions import SetTimer, TimerName
from snapext_extension.boundary.member import Key, Member, SignalledPid
from snapext_extension.boundary.outbox import Outbox
from snapext_extension.boundary.settings import LOOK_EVERY_MS


class Roll:
    """members: by key; all parts of the lifecycle read them here.

    waited_for: the keys of the members that still have to answer.
    known_pids: of all that have joined, and neither ended nor executed another program.
    ended: how many members have ended so far. anyone_has_joined: from then on all that may still join are waited for.
    """

    def __init__(self, outbox: Outbox) -> None:
        self.members: dict[Key, Member] = {}
        self.waited_for: set[Key] = set()
        self.known_pids: set[int] = set()
        self.ended = 0
        self.anyone_has_joined = False
        self._outbox = outbox
        self._hung_up: dict[Key, Member] = {}  # they live, and owe nothing

    # --- joining and leaving ---------------------------------------------------------------------------------------

    def join(self, key: int, member: Member, now_ms: float) -> HookCounts | None:
        """Enter a process. One that comes back goes on where it was: returns the hooks that it had then."""
        pid, hooks = member.process.pid, None
        member.ran_in_parent = member.forked and self._has_run_its_hooks(member.parent_pid)
        for lost_key in [key for key, other in self.members.items() if other.process.pid == pid and _is_lost(other)]:
            earlier = self._strike(lost_key)
            hooks = earlier.hooks
            member.durations_ms, member.warned_late = earlier.durations_ms, earlier.warned_late
            member.reached, member.ran_in_parent = earlier.reached, earlier.ran_in_parent
            if earlier.said_lost:
                self._outbox.do(reports.link_restored(member, now_ms - (earlier.lost_ms or 0.0)))
        self.members[key] = member
        self.known_pids.add(pid)
        self.anyone_has_joined = True
        self._hung_up = {key: other for key, other in self._hung_up.items() if other.process.pid != pid}
        return hooks

    def enter_signalled(self, member: Member) -> None:
        """Enter a process that was sent a signal and has to answer, or once more for another phase."""
        key = SignalledPid(member.process.pid)
        if (earlier := self.members.get(key)) is not None:
            member.durations_ms = earlier.durations_ms
        self.members[key] = member
        self.wait_for(key)

    def strike_signalled(self, pid: int) -> bool:
        """Strike a signalled process that has come to the socket. Returns whether it was on the roll."""
        key = SignalledPid(pid)
        return key in self.members and self._strike(key) is not None

    def hang_up(self, key: Key, *, is_end_of_interest: bool) -> None:
        """Strike a member that lives and owes nothing. If it is about to end, that is heard a moment later."""
        member = self._strike(key)
        if is_end_of_interest:
            self._hung_up[key] = member

    def end(self, key: Key) -> None:
        """Strike a member that has ended, or executes another program."""
        self.known_pids.discard(self._strike(key).process.pid)
        self.ended += 1

    def end_of_hung_up(self, key: Key) -> Member | None:
        """One that had hung up has ended; None if it was none of them."""
        member = self._hung_up.pop(key, None)
        if member is not None:
            self.known_pids.discard(member.process.pid)
        return member

    @property
    def anyone_is_away(self) -> bool:
        """Whether a process lives that had a connection and has none."""
        return bool(self._hung_up) or bool(self.lost())

    def forget_hung_up(self) -> None:
        self._hung_up.clear()

    def is_watched(self, key: Key) -> bool:
        """Whether the end of a process that has hung up is still worth knowing."""
        return key in self.members or key in self._hung_up

    def _strike(self, key: Key) -> Member:
        self.waited_for.discard(key)
        return self.members.pop(key)

    # --- who has to answer -----------------------------------------------------------------------------------------

    def wait_for(self, key: Key) -> None:
        self.members[key].pending = True
        self.waited_for.add(key)

    def answered(self, key: Key) -> None:
        """A member has answered, or is not waited for any more."""
        member = self.members[key]
        member.pending, member.hook = False, None
        self.waited_for.discard(key)

    # --- the members -----------------------------------------------------------------------------------------------

    def on_socket(self) -> list[int]:
        """The connections of the members that have one, or had: a lost one is told as well, when it is back."""
        return [key for key in self.members if isinstance(key, int)]

    def has_another_link(self, key: Key, member: Member) -> bool:
        """A process may be back before its first connection ends: another one held a copy of that open."""
        others = (self.members[other] for other in self.on_socket() if other != key)
        return any(other.process.pid == member.process.pid and not _is_lost(other) for other in others)

    def _has_run_its_hooks(self, pid: int) -> bool:
        """Whether the process of that number has run its before-snapshot hooks: a fork of it holds what they left."""
        return any(member.has_run(BEFORE_SNAPSHOT) for member in self.members.values() if member.process.pid == pid)

    # --- lost members ----------------------------------------------------------------------------------------------

    def lost(self) -> list[Member]:
        return [member for member in self.members.values() if _is_lost(member)]

    def strike_lost_without_hooks(self) -> None:
        """They were importing, and nobody knows of a hook in them."""
        for key, member in list(self.members.items()):
            if _is_lost(member) and not member.total_hooks():
                self._strike(key)

    def watch_lost(self) -> None:
        """From now on, look whether lost members execute another program."""
        self._outbox.do(SetTimer(TimerName.LOOK, LOOK_EVERY_MS))

    def report_lost(self, now_ms: float) -> None:
        """Once for each, and not at once: a process that ends closes its connection a moment before."""
        for member in self.lost():
            if not member.said_lost and now_ms - (member.lost_ms or 0.0) >= LOOK_EVERY_MS:
                member.said_lost = True
                self._outbox.do(reports.link_lost(member))


def _is_lost(member: Member) -> bool:
    return member.lost_ms is not None
