"""Judge a finished life: OK has to mean OK."""

from __future__ import annotations

from collections.abc import Iterator

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_tools.simulator.recorder import Debt, Recorder, Trouble

EXPECT_HOOKS = "--expect-hooks"


def judge(recorder: Recorder, *, snap_start: bool, expected_hooks: int | None, observed: bool = False) -> None:
    """Add the troubles that no process reported.

    snap_start: hooks are to run in this life, so that one without any is a failure.
    expected_hooks: how many hooks must run, in all processes and both phases; None for at least one under SnapStart.
    observed: nothing holds the runtime back after the restore, so a middleware has to hold the requests.
    """
    not_in_time = _not_held(recorder) if observed and not recorder.restore_told else map(_late, recorder.debts)
    found = [*_not_linked(recorder), *not_in_time, *_joined_too_late(recorder)]
    if recorder.ok:  # else the hooks that did not run are a consequence of the failure
        found += _count(recorder, expected_hooks, snap_start=snap_start)
    for trouble in found:
        recorder.trouble(trouble, tell=False)


def _not_linked(recorder: Recorder) -> Iterator[Trouble]:
    """Processes that the extension knows cannot join; except one that did join, or that is the failure itself."""
    done = {process["pid"] for process in recorder.processes} | {trouble.pid for trouble in recorder.troubles}
    for happening in list(recorder.happenings):
        fields = happening.fields
        if happening.event == "not_linked" and fields["pid"] not in done:
            done.add(fields["pid"])
            message = f"process {fields['pid']} ({fields['name']}) is not linked: {fields['cause']}"
            yield Trouble("init", fields["pid"], None, "NotLinked", message, "")


def _not_held(recorder: Recorder) -> Iterator[Trouble]:
    """Processes that may have served a request before their hooks: only their own middleware can say that none did."""
    if any(trouble.phase == AFTER_RESTORE for trouble in recorder.troubles):
        return  # a hook has failed: that others did not run, or late, is a consequence
    passed = {process["pid"]: process["passed"] for process in recorder.processes}
    for owner in recorder.owners:
        requests, who = passed.get(owner.pid), f"process {owner.pid} ({owner.name})"
        hooks = _number(owner.hooks, "after-restore hook")
        message = ""
        if requests is None and not recorder.serves_in_forks(owner.pid):
            message = f"no middleware in {who} holds requests until its {hooks} have run (docs/guarantees.md)"
        elif requests:
            came = _number(requests, "request")
            message = f"{came} passed the middleware of {who} before its {hooks} had run (docs/guarantees.md)"
        elif not recorder.has_run_all(owner):
            message = f"{hooks} of {who} had not run by the end"
        if message:
            yield Trouble(AFTER_RESTORE, owner.pid, None, "NotInTime", message, "")


def _late(debt: Debt) -> Trouble:
    late = "had not run when the runtime asked for its first invocation"
    message = f"{_number(debt.hooks, 'after-restore hook')} of process {debt.pid} ({debt.name}) {late}"
    return Trouble(AFTER_RESTORE, debt.pid, None, "NotInTime", message, "")


def _joined_too_late(recorder: Recorder) -> Iterator[Trouble]:
    """Processes whose hooks were lost, or ran after the first request. A process without hooks missed nothing."""
    hooks_of = {process["pid"]: process["hooks"] for process in recorder.processes}
    for late in recorder.latecomers:
        hooks = hooks_of.get(late.pid, {})
        missed = [f"{_number(hooks.get(BEFORE_SNAPSHOT, 0), 'before-snapshot hook')} did not run"]
        if late.after_ready:
            missed.append(f"{_number(hooks.get(AFTER_RESTORE, 0), 'after-restore hook')} ran late")
        missed = [words for words in missed if not words.startswith("0 ")]
        if missed:
            message = f"process {late.pid} ({late.name}) joined too late: {' and '.join(missed)}"
            yield Trouble(BEFORE_SNAPSHOT, late.pid, None, "JoinedTooLate", message, "")


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _count(recorder: Recorder, expected: int | None, *, snap_start: bool) -> Iterator[Trouble]:
    ran = recorder.hooks_run
    if expected is None and snap_start and ran == 0:
        why = ", because of SNAPEXT_MODE=off" if recorder.is_off else ""
        yield Trouble("verdict", None, None, "HookCount", f"no hook ran{why} ({EXPECT_HOOKS} 0 if none should)", "")
    elif expected is not None and ran != expected:
        ran_words = "1 hook ran" if ran == 1 else f"{ran} hooks ran"
        yield Trouble("verdict", None, None, "HookCount", f"{ran_words}, not {expected} ({EXPECT_HOOKS})", "")
