"""What can go wrong at the boundary, in the words that the person who has to fix it will read."""

from __future__ import annotations

from collections.abc import Sequence

from snapext.wire.messages import HookFailure
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_extension.data import Data

# The managed Python runtime's error types and exit statuses for the same failures (awslambdaric).
ERROR_TYPES = {BEFORE_SNAPSHOT: "Runtime.BeforeSnapshotError", AFTER_RESTORE: "Runtime.AfterRestoreError"}
EXIT_STATUSES = {BEFORE_SNAPSHOT: 64, AFTER_RESTORE: 65}
EXIT_OTHER = 1
MAX_NAMED = 4


class Process(Data):
    """A process as a person knows it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


class Failure(Data):
    """Why the boundary was not passed.

    phase: `init`, `before_snapshot`, `restore` or `after_restore`.
    runtime_report: where the Runtime API takes it, `init` or `restore`; None when it would refuse it.
    """

    phase: str
    error_type: str
    message: str
    exit_status: int
    runtime_report: str | None
    process: Process | None = None
    error: HookFailure | None = None


def raised(phase: str, process: Process, error: HookFailure, duration_ms: float, *, reportable: bool) -> Failure:
    """`duration_ms`: how long the whole phase took; said where the process does not give the hook's own time."""
    what = f"{phase} hook {error.hook}" if error.hook else f"{phase}"
    ran_ms = duration_ms if error.duration_ms is None else error.duration_ms
    message = f"{what} in {process} failed after {ran_ms:.0f} ms: {error.type}: {error.message}"
    return _hook_failure(phase, process, error, message, reportable)


def died(
    phase: str, process: Process, hook: str | None, ran_ms: float, *, reportable: bool, signal: str | None = None
) -> Failure:
    """`signal`: the signal that it was told by, if it was."""
    where = f"while its {phase} hook {hook} ran" if hook else f"before its first {phase} hook"
    why = "killed, out of memory, or os._exit"
    if signal is not None:
        where, why = f"without an answer to {signal}, the signal for {phase}", "does its handler exit?"
    message = f"{process} ended {where}, {ran_ms:.0f} ms into the phase ({why})"
    error = HookFailure("ProcessEnded", message, "", hook)
    return _hook_failure(phase, process, error, message, reportable)


class Late(Data):
    """A member that did not finish a phase: the hook that it runs, if known, or the signal that it was told by.

    lost_ms: for how long its connection has been lost; None if it is connected.
    """

    process: Process
    hook: str | None
    signal: str | None = None
    lost_ms: float | None = None

    def __str__(self) -> str:
        return f"{doing(self.hook, self.signal)} in {self.process}" + (
            "" if self.lost_ms is None else f", which lost its connection {self.lost_ms:.0f} ms ago and lives,"
        )


def doing(hook: str | None, signal: str | None) -> str:
    """What a process does once it was told its phase."""
    return f"the handler of {signal}" if signal is not None else f"hook {hook or '(the first)'}"


def timed_out(phase: str, late: Sequence[Late], ran_ms: float, *, reportable: bool) -> Failure:
    """The first of the `late` stands for all."""
    first = late[0]
    others = _few(late[1:])
    message = (
        f"{phase} {first} did not finish after {ran_ms:.0f} ms, "
        f"the budget of the phase (SNAPEXT_{phase.upper()}_TIMEOUT_MS)"
        + (f"; nor did {others}" if others else "")
        + ("" if first.signal is None else "; does it run `snapext done`, or write its pid to the pipe?")
    )
    return _hook_failure(
        phase, first.process, HookFailure("TimeoutError", message, "", first.hook), message, reportable
    )


def signals_failed(phase: str, reason: str, *, reportable: bool) -> Failure:
    error = HookFailure("SignalError", reason, "", None)
    return _hook_failure(phase, None, error, reason, reportable)


def not_ready(timeout_ms: int, why: str) -> Failure:
    message = f"not ready after {timeout_ms} ms (SNAPEXT_READY_TIMEOUT_MS): {why}"
    return Failure("init", "Runtime.AppNotReady", message, EXIT_OTHER, "init")


def app_not_ready(answer: str, ended: int) -> str:
    """`answer`: what the app answered to its last readiness check. `ended`: how many processes have ended meanwhile."""
    why = f"the app's readiness check fails: {answer}"
    if ended:
        many = "processes of the function have" if ended > 1 else "process of the function has"
        why += f"; meanwhile {ended} {many} ended: do workers crash, or is the memory too small for them?"
    return why


def too_few(workers: int, counted: Sequence[Process], left_out: Sequence[str], missing: Sequence[Process]) -> str:
    """`left_out`: processes that have joined and are not counted, each with the reason. `missing`: not joined."""
    why = f"{len(counted)} of {workers} processes have joined (SNAPEXT_WORKERS): {_few(counted) or 'none'}"
    if left_out:
        why += f"; not counted: {_few(left_out)}"
    if missing:
        why += f"; not joined: {_few(missing)}"
    return why + "; does each worker import snapext or snapshot_restore_py, and are there as many?"


def not_connected(process: Process, hooks: int, lost_ms: float) -> str:
    what = f"has registered {hooks} hook{'' if hooks == 1 else 's'}, and " if hooks else ""
    return f"{process} {what}lost its connection {lost_ms:.0f} ms ago"


def not_linked(process: Process, command: str, cause: str, remedy: str, others: int) -> Failure:
    """Nobody takes part, and this Python process cannot: its hooks, if it has some, would be lost in silence."""
    more = f"; {others} more like it" if others else ""
    message = (
        f"no process has joined, and {process} cannot ({command}): {cause}; {remedy}{more}. "
        "If the function has no hooks, set SNAPEXT_WORKERS=0"
    )
    return Failure("init", "Runtime.ProcessNotLinked", message, EXIT_OTHER, "init", process)


def registered_too_late(process: Process, phase: str, *, reportable: bool) -> Failure:
    reason = f"{process} registered a {phase} hook after it had run that phase: the hook would never run"
    message = f"{reason}; register hooks while the app is imported, before its readiness check succeeds"
    return _hook_failure(phase, process, HookFailure("RegisteredTooLate", reason, "", None), message, reportable)


def _few(items: Sequence[object]) -> str:
    shown = ", ".join(map(str, items[:MAX_NAMED]))
    return shown + (f" and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else "")


def no_checkpoint(timeout_ms: int) -> Failure:
    message = (
        f"not ready after {timeout_ms} ms (SNAPEXT_READY_TIMEOUT_MS): no process has run `snapext checkpoint`, "
        "which SNAPEXT_MODE=explicit waits for"
    )
    return Failure("init", "Runtime.AppNotReady", message, EXIT_OTHER, "init")


def crowded(limit: int, *, reportable: bool) -> Failure:
    message = f"a process could not join: there are {limit} connections already; does something flood the socket?"
    return Failure("init", "Runtime.TooManyProcesses", message, EXIT_OTHER, "init" if reportable else None)


def restore_refused(status: int, body: str) -> Failure:
    if status == 403:
        why = (
            "another process asked for invocation/next first: the web adapter, which gives up waiting after 9.8 s when "
            "AWS_LWA_ASYNC_INIT=true (remove that variable), or a runtime of your own before its `snapext checkpoint`"
        )
    elif status == 404:
        why = "this environment was not initialised for SnapStart, although AWS_LAMBDA_INITIALIZATION_TYPE says so"
    else:
        why = "the platform does not answer as documented"
    message = f"restore/next was answered with {status}: {why} ({body.strip()[:300]})"
    return Failure("restore", "Extension.RestoreRefused", message, EXIT_OTHER, None)


def _hook_failure(phase: str, process: Process | None, error: HookFailure, message: str, reportable: bool) -> Failure:
    return Failure(
        phase=phase,
        error_type=ERROR_TYPES[phase],
        message=message,
        exit_status=EXIT_STATUSES[phase],
        runtime_report=({BEFORE_SNAPSHOT: "init", AFTER_RESTORE: "restore"}[phase]) if reportable else None,
        process=process,
        error=error,
    )
