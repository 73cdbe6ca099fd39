"""Init: what it waits for, and when it is over. No I/O.

It is over when the app is ready, no process is missing (assembly.py), and nothing new has come for a while.
It fails on evidence only: the platform repeats it unattended, and a false failure is an outage.
"""

from __future__ import annotations

from collections.abc import Callable

from snapext_extension.boundary import reports
from snapext_extension.boundary.actions import CancelTimer, Look, Report, SetTimer, TimerName
from snapext_extension.boundary.assembly import Assembly
from snapext_extension.boundary.attendance import Attendance, Sighting
from snapext_extension.boundary.commands import Commands
from snapext_extension.boundary.events import Looked
from snapext_extension.boundary.failures import Failure, app_not_ready, no_checkpoint, not_linked, not_ready
from snapext_extension.boundary.member import Member
from snapext_extension.boundary.outbox import Outbox
from snapext_extension.boundary.roll import Roll
from snapext_extension.boundary.settings import LOOK_EVERY_MS, WAITING_EVERY_MS, Settings

MAX_SETTLES = 10
"""The settling is started anew by whatever joins, but ends after so many times its length."""
MIN_LISTEN_MS = 300
"""A client that finds nobody tries again after at most 100 ms."""
LOOK_SHARE = 10
"""Looks take a tenth of the time at most: under a CPU limit they would take it from the imports that they wait for."""
EARLY_LOOK_EVERY_MS = 1_000
"""Before the app is ready a look only counts the processes that have ended."""


class Init:
    """It reads the roll and the commands. app_answer: says what the app answered to its last readiness check."""

    def __init__(
        self, settings: Settings, roll: Roll, commands: Commands, outbox: Outbox, app_answer: Callable[[], str]
    ) -> None:
        self.app_is_ready = False
        self.started_ms = 0.0
        self._settings = settings
        self._roll = roll
        self._outbox = outbox
        self._app_answer = app_answer
        self._attendance = Attendance(settings.settle_ms)
        self._assembly = Assembly(settings.workers, roll, commands, self._attendance)
        self._settle_started_ms: float | None = None
        self._has_settled = False
        self._serving_pids: set[int] = set()  # they seem to import, and were let go when init had waited long enough

    def wait(self) -> None:
        """Start the timers that end init at last, say what it waits for, and look."""
        self._outbox.do(SetTimer(TimerName.READY, self._settings.ready_timeout_ms))
        self._outbox.do(SetTimer(TimerName.WAITING, WAITING_EVERY_MS))
        self._outbox.do(SetTimer(TimerName.LOOK, self._look_every_ms()))

    def become_ready(self, now_ms: float) -> None:
        """The app is ready: it answers, or somebody asks for the checkpoint."""
        self.app_is_ready = True
        self._assembly.app_answered(now_ms)

    def end(self) -> None:
        for timer in (TimerName.READY, TimerName.WAITING, TimerName.LOOK, TimerName.SETTLE):
            self._outbox.do(CancelTimer(timer))

    # --- settling --------------------------------------------------------------------------------------------------

    def settle(self, now_ms: float) -> None:
        """Wait until nothing new has come for a while, once the app is ready and enough processes have joined.

        A process says hello when it registers its first hook, in the middle of being imported: others, and the rest of
        its hooks, are likely to follow at once. Init is paid for once per published version, so the wait is cheap.
        """
        if not self.app_is_ready:
            return
        self._has_settled = False
        if self._assembly.incomplete(now_ms):
            self._settle_started_ms = None
            self._outbox.do(CancelTimer(TimerName.SETTLE))
            return
        if self._settle_started_ms is None:
            self._settle_started_ms = now_ms
        # An app that forks all the time must not put it off without end; and an app that was up before us may not
        # have found us yet.
        latest_ms = self._settle_started_ms + MAX_SETTLES * self._settings.settle_ms
        earliest_ms = self.started_ms + MIN_LISTEN_MS
        due_ms = max(earliest_ms, min(latest_ms, now_ms + self._settings.settle_ms))
        self._outbox.do(SetTimer(TimerName.SETTLE, max(0.0, due_ms - now_ms)))

    def has_settled(self) -> None:
        """Nothing new has come for a while. The look that follows decides."""
        self._has_settled = True
        self._outbox.do(Look())

    def look_again(self) -> None:
        if self._roll.lost():
            self._outbox.do(Look(lost_only=True))
        self._outbox.do(Look())

    def is_over_after(self, look: Looked, now_ms: float) -> bool:
        """Take a look. Returns whether the boundary may begin."""
        somebody_new_listens = self._attendance.look(look.sightings, now_ms)
        self._outbox.do(SetTimer(TimerName.LOOK, max(self._look_every_ms(), LOOK_SHARE * look.took_ms)))
        self._roll.report_lost(now_ms)
        if not self.app_is_ready:
            return False
        if self._assembly.incomplete(now_ms) or self._settle_started_ms is None:
            self.settle(now_ms)  # or a look has shown that a process that seemed to import serves
            return False
        if self._assembly.missing(now_ms, patient=False):
            self._settle_started_ms = now_ms  # a process that joins at last gets its time to settle, however late
        patient = now_ms < self._settle_started_ms + MAX_SETTLES * self._settings.settle_ms
        if somebody_new_listens and patient:
            self.settle(now_ms)
            return False
        return self._has_settled and not self._assembly.missing(now_ms, patient=patient)

    def _look_every_ms(self) -> float:
        return LOOK_EVERY_MS if self.app_is_ready else EARLY_LOOK_EVERY_MS

    # --- what it waits for, and what it does not wait for any longer -------------------------------------------------

    def waits_for(self, now_ms: float) -> str:
        """In words."""
        return "; ".join(self._missing(now_ms)) or "more processes or hooks may follow (SNAPEXT_SETTLE_MS)"

    def give_up(self, now_ms: float) -> Failure | None:
        """The time to wait is over. Without a failure the boundary begins with the members that are there."""
        timeout_ms, workers = self._settings.ready_timeout_ms, self._settings.workers
        missing = self._missing(now_ms)
        if not self.app_is_ready and not self._settings.observes:
            return not_ready(timeout_ms, "; ".join(missing)) if self._settings.gate else no_checkpoint(timeout_ms)
        hooks_are_lost = any(member.total_hooks() for member in self._roll.lost())
        if workers != 0 and (hooks_are_lost or (workers and len(self._assembly.counted(now_ms)) < workers)):
            return not_ready(timeout_ms, "; ".join(missing))
        if missing:
            fields: dict[str, object] = {"waited_ms": timeout_ms, "message": "; ".join(missing)}
            self._outbox.do(Report("warning", "gave_up_waiting", fields))
        self._serving_pids = {
            member.process.pid
            for member in self._assembly.importing(now_ms)
            if self._attendance.is_resting(member.process.pid, now_ms)
        }
        return None

    def is_serving(self, member: Member, now_ms: float) -> bool:
        """Whether a member that imports serves from within that import: its hooks need not wait for the end of it."""
        return member.importing and (
            member.process.pid in self._serving_pids or member not in self._assembly.importing(now_ms)
        )

    def unlinked(self) -> list[Sighting]:
        """The Python processes that have not joined and cannot."""
        return self._assembly.unlinked()

    def hooks_are_lost(self) -> Failure | None:
        """The evidence that hooks are lost: nobody takes part, and a Python process could not."""
        if self._roll.members or self._settings.workers == 0 or not self._settings.held:
            return None
        unlinked = self._assembly.unlinked()
        if not unlinked:
            return None
        first = unlinked[0]
        return not_linked(first.process, first.command, first.cause, first.remedy, len(unlinked) - 1)

    def report_absent(self) -> None:
        """Name the function's processes that take no part."""
        for level, event, process, fields in self._assembly.absent():
            self._outbox.do(reports.of_process(level, event, process, **fields))

    def _missing(self, now_ms: float) -> list[str]:
        """What init waits for, in words; empty when the boundary may begin."""
        if self.app_is_ready:
            return self._assembly.missing(now_ms)
        if self._settings.gate or self._settings.observes:
            why = app_not_ready(self._app_answer(), max(self._roll.ended, self._attendance.ended))
            elsewhere = self._attendance.listening_elsewhere()
            return [f"{why}; {elsewhere} listens, but not on that port" if elsewhere else why]
        return ["no process has run `snapext checkpoint`"] if self._settings.held else []
