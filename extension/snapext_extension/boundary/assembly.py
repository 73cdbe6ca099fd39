"""What init waits for once the app is ready: links, imports, and the workers that are still missing. No I/O.

With SNAPEXT_WORKERS that number alone says how many there must be. Without it the kernel tells (attendance.py): once
one process has joined, all that may still join are waited for, also where that one has ended: a server may replace its
workers after so many requests, and readiness checks are requests.
"""

from __future__ import annotations

from collections.abc import Iterator

from snapext_extension.boundary.attendance import Attendance, Sighting
from snapext_extension.boundary.commands import Commands
from snapext_extension.boundary.failures import Process, not_connected, too_few
from snapext_extension.boundary.member import Member
from snapext_extension.boundary.roll import Roll

FIRST_LINK_MS = 10_000
"""Under a CPU limit the app may answer some time before the first link is made. Later, nobody has hooks."""
FORK_REMEDY = (
    "a program that forks in C must tell Python (uWSGI: --lazy-apps, or --py-call-uwsgi-fork-hooks); else set "
    "SNAPEXT_TRANSPORT=signal"
)
"""For a fork of a linked process that is not linked itself."""


class Assembly:
    """workers: how many must have joined; 0: nobody is missing, whatever a look shows; None: looks decide."""

    def __init__(self, workers: int | None, roll: Roll, commands: Commands, attendance: Attendance) -> None:
        self._workers = workers
        self._roll = roll
        self._commands = commands
        self._attendance = attendance
        self._answered_ms = float("inf")

    def app_answered(self, now_ms: float) -> None:
        """The app has answered its readiness check, or a command of it has asked for the checkpoint."""
        self._answered_ms = now_ms

    def missing(self, now_ms: float, *, patient: bool = True) -> list[str]:
        """What is waited for, in words; empty when the boundary may begin.

        patient: also for processes that the latest look shows for the first time.
        """
        missing = [
            not_connected(member.process, member.total_hooks(), now_ms - (member.lost_ms or 0.0))
            for member in self._roll.lost()
        ]
        missing += self.incomplete(now_ms)
        may_come = self._roll.anyone_has_joined or now_ms - self._answered_ms < FIRST_LINK_MS
        if self._workers is None and may_come:
            missing += [
                f"{sighting.process} listens, has not joined, and may still be importing"
                for sighting in self._attendance.may_still_join(self.joined(), now_ms, patient=patient)
            ]
        return missing

    def incomplete(self, now_ms: float) -> list[str]:
        """What the settling begins anew after, in words: imports that go on, and workers that are missing."""
        missing = [f"{member.process} is still importing" for member in self.importing(now_ms)]
        if self._workers and len(self.counted(now_ms)) < self._workers:
            missing.append(self._too_few(now_ms))
        return missing

    def importing(self, now_ms: float) -> list[Member]:
        """Members that are in the middle of an import and do not serve from within it."""
        pids = {member.process.pid for member in self._roll.members.values() if member.importing}
        return [
            member
            for member in self._roll.members.values()
            if member.importing
            and member.lost_ms is None
            and not self._attendance.is_serving(member.process.pid, pids, now_ms, self._answered_ms)
        ]

    def counted(self, now_ms: float) -> list[Process]:
        """The members that count as workers (SNAPEXT_WORKERS)."""
        return [member.process for member, why in self._judged(now_ms) if not why]

    def joined(self) -> set[int]:
        """The pids of all that take part, or did and hung up; commands at the door are ours as well."""
        members = self._roll.members.values()
        return {member.process.pid for member in members} | self._roll.known_pids | self._commands.pids()

    def unlinked(self) -> list[Sighting]:
        """The Python processes that have not joined and cannot."""
        return self._attendance.unlinked(self.joined())

    def absent(self) -> Iterator[tuple[str, str, Process, dict[str, object]]]:
        """The function's processes that take no part, for the log: level, event, process and fields of each."""
        joined = self.joined()
        for sighting in self.unlinked():
            process, why = sighting.process, f"{sighting.cause}; {sighting.remedy}"
            message = f"{process} is not linked ({sighting.command}): {why}"
            about: dict[str, object] = {"command": sighting.command, "cause": sighting.cause, "remedy": sighting.remedy}
            yield "warning", "not_linked", process, {**about, "message": message}
        for sighting in self._attendance.strangers(joined):
            message = f"{sighting.process} listens on the app's port and is not connected: it is not Python"
            yield "info", "stranger", sighting.process, {"message": message}
        if not self._roll.members:
            return
        for sighting in self._attendance.not_joined(joined):
            if (parent := self._hooked_parent(sighting)) is not None:
                cause = f"it is a fork of {parent.process}, which has {parent.total_hooks()} hooks, and has not joined"
                about = {"command": sighting.command, "cause": cause, "remedy": FORK_REMEDY}
                message = f"{sighting.process} is not linked ({sighting.command}): {cause}; {FORK_REMEDY}"
                yield "warning", "not_linked", sighting.process, {**about, "message": message}
            elif not sighting.cause:
                message = f"{sighting.process} listens and has not joined: it has imported no hook module"
                yield "info", "without_hooks", sighting.process, {"message": message}
        for sighting in self._attendance.others(joined):
            message = (
                f"{sighting.process} has not joined ({sighting.command}): it has imported no hook module, or not yet"
            )
            yield "info", "without_hooks", sighting.process, {"message": message}

    def _hooked_parent(self, sighting: Sighting) -> Member | None:
        """The member with hooks whose copy a process is: it has the same hooks, and they do not run."""
        if not self._attendance.is_fork_of_parent(sighting):
            return None
        members = (member for member in self._roll.members.values() if member.process.pid == sighting.parent_pid)
        return next((member for member in members if member.total_hooks()), None)

    def _judged(self, now_ms: float) -> Iterator[tuple[Member, str]]:
        """Each member, and why it is no worker, or none yet; empty when it is one.

        The parent of a fork that has joined is a preloading master: it serves nothing itself. What is true of all of
        them is looked up once: under a CPU limit the imports that are waited for need that time.
        """
        masters = {member.parent_pid for member in self._roll.members.values() if member.forked}
        supervisors = self._attendance.supervisors(self.joined())
        importing = {member.process.pid for member in self.importing(now_ms)}
        for member in self._roll.members.values():
            pid, why = member.process.pid, ""
            if pid in masters:
                why = "it has forked others that joined"
            elif pid in supervisors:
                why = "a child of its own has joined, and holds the same port"
            elif member.lost_ms is not None:
                why = "its connection is lost"
            elif pid in importing:
                why = "it is still importing"
            yield member, why

    def _too_few(self, now_ms: float) -> str:
        left_out = [f"{member.process} ({why})" for member, why in self._judged(now_ms) if why]
        missing = [sighting.process for sighting in self._attendance.not_joined(self.joined())]
        return too_few(self._workers or 0, self.counted(now_ms), left_out, missing)
