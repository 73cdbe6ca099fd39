"""What the log says of the boundary, in the words that a person will read. No I/O."""

from __future__ import annotations

from snapext.wire.messages import Done
from snapext_extension.boundary.actions import Report
from snapext_extension.boundary.failures import Process
from snapext_extension.boundary.member import Member, counts
from snapext_extension.boundary.states import State


def of_member(level: str, event: str, member: Member, **fields: object) -> Report:
    """A line that begins with a member's pid and name."""
    return of_process(level, event, member.process, **fields)


def of_process(level: str, event: str, process: Process, **fields: object) -> Report:
    return Report(level, event, {"pid": process.pid, "name": process.name, **fields})


def joined(member: Member) -> Report:
    told = {"hooks": counts(member.hooks), "forked": member.forked, "parent_pid": member.parent_pid}
    return of_member("debug", "process_joined", member, **told, passed=member.passed)


def joined_too_late(member: Member, lost: str) -> Report:
    return of_member("warning", "joined_too_late", member, lost=lost)


def registered_too_late(member: Member, phase: str) -> Report:
    message = f"{member.process} registered a {phase} hook after that phase: it does not run in this environment"
    return of_member("warning", "registered_too_late", member, phase=phase, message=message)


def answered(member: Member, phase: str, done: Done) -> Report:
    """The event is named after the phase. A restore waits for this line of each member: its fields are copied once."""
    fields: dict[str, object] = {
        "pid": member.process.pid,
        "name": member.process.name,
        "ok": done.ok,
        "duration_ms": done.duration_ms,
        "hooks": [{"name": hook.name, "duration_ms": hook.duration_ms} for hook in done.hooks],
    }
    if done.error is not None:
        fields["failed_hook"] = done.error.hook
        if done.error.duration_ms is not None:
            fields["failed_hook_ms"] = done.error.duration_ms
    if member.signal is not None:
        fields["signal"] = member.signal
    return Report("debug" if done.ok else "error", phase, fields)


def passed(member: Member) -> Report:
    """Once for each process: the first request says it, and those that follow say no more."""
    message = (
        f"{member.process} served a request after its before-snapshot hooks and before its after-restore hooks, with "
        "the state of the snapshot: nothing had shown its middleware the restore yet (docs/guarantees.md)"
    )
    return of_member("warning", "passed", member, message=message)


def link_lost(member: Member) -> Report:
    message = f"{member.process} lost its connection and lives: the boundary waits until it is back or ends"
    return of_member("info", "link_lost", member, message=message)


def link_restored(member: Member, lost_ms: float) -> Report:
    message = f"{member.process} is connected again after {lost_ms:.0f} ms"
    return of_member("info", "link_restored", member, lost_ms=round(lost_ms, 3), message=message)


def ended(member: Member, phase: str, state: State) -> Report:
    """A process that ends in the middle of the boundary leaves a line, whatever it has run."""
    if member.signal is not None:
        message = f"{member.process} ended after it was sent {member.signal}"
    else:
        what = "after it had run its" if member.has_run(phase) else "without running"
        message = f"{member.process} ended, or executes another program, {what} {phase} hooks"
    return of_member("warning", "process_ended", member, state=state.value, message=message)


def nobody_joined() -> Report:
    message = (
        "no process takes part, so no hook runs: has the app imported snapext or snapshot_restore_py by now, and is "
        "its process still alive? One without hooks needs SNAPEXT_INTEGRATIONS=auto to have the connections of its "
        "libraries closed and renewed"
    )
    return Report("warning", "no_process_joined", {"message": message})


def check_missing(made: int) -> Report:
    message = f"the web adapter made {made} readiness check(s) before the snapshot, and no more"
    return Report("warning", "check_missing", {"message": message})


def check_given_up(state: State, passed_ms: float, meanwhile: str) -> Report:
    since = {State.INIT: "start", State.BEFORE_SNAPSHOT: "start of the before-snapshot hooks"}.get(state, "restore")
    message = (
        f"the web adapter has given up its readiness check {passed_ms:.0f} ms after the {since} "
        f"(AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS?){meanwhile}"
    )
    return Report("warning", "readiness_hung_up", {"message": message})


def waiting(waited_ms: float, why: str) -> Report:
    return Report("info", "waiting", {"waited_ms": round(waited_ms), "message": f"init waits: {why}"})


def ended_in_the_middle(state: State, reason: str, meanwhile: str) -> Report:
    message = f"the platform ends the environment ({reason}) in state {state.value}{meanwhile}"
    return Report("warning", "ended_in_the_middle", {"message": message})
