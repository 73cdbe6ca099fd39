"""What can go wrong at the boundary, in the words that the person who has to mend it will read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from snapext.protocol import HookFailure

BEFORE_SNAPSHOT = "before_snapshot"
AFTER_RESTORE = "after_restore"

# The managed Python runtime's error types and exit statuses for the same failures (awslambdaric).
ERROR_TYPES = {BEFORE_SNAPSHOT: "Runtime.BeforeSnapshotError", AFTER_RESTORE: "Runtime.AfterRestoreError"}
EXIT_STATUSES = {BEFORE_SNAPSHOT: 64, AFTER_RESTORE: 65}
EXIT_OTHER = 1


@dataclass(frozen=True, slots=True)
class Process:
    """A process as a person knows it."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


@dataclass(frozen=True, slots=True)
class Failure:
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
    what = f"{phase} hook {error.hook}" if error.hook else f"{phase}"
    message = f"{what} in {process} failed after {duration_ms:.0f} ms: {error.type}: {error.message}"
    return _hook_failure(phase, process, error, message, reportable)


def died(
    phase: str, process: Process, hook: str | None, ran_ms: float, *, reportable: bool, signal: str | None = None
) -> Failure:
    """`signal`: the signal that it was told by, if it was."""
    where = f"while its {phase} hook {hook} ran" if hook else f"before its first {phase} hook"
    why = "killed, out of memory, or os._exit"
    if signal is not None:
        where, why = f"without an answer to {signal}, which tells it of {phase}", "does its handler exit?"
    message = f"{process} ended {where}, {ran_ms:.0f} ms into the phase ({why})"
    error = HookFailure("ProcessEnded", message, "", hook)
    return _hook_failure(phase, process, error, message, reportable)


@dataclass(frozen=True, slots=True)
class Late:
    """A process that has not ended a phase: the hook that it runs, if known, or the signal that it was told by."""

    process: Process
    hook: str | None
    signal: str | None = None

    def __str__(self) -> str:
        return f"{doing(self.hook, self.signal)} in {self.process}"


def doing(hook: str | None, signal: str | None) -> str:
    """What a process does once it was told of a phase."""
    return f"the handler of {signal}" if signal is not None else f"hook {hook or '(the first)'}"


def timed_out(phase: str, late: Sequence[Late], ran_ms: float, *, reportable: bool) -> Failure:
    """The first of the `late` stands for all."""
    first = late[0]
    others = ", ".join(map(str, late[1:4])) + (f" and {len(late) - 4} more" if len(late) > 4 else "")
    message = (
        f"{phase} {first} has not ended after {ran_ms:.0f} ms, "
        f"the budget of the phase (SNAPEXT_{phase.upper()}_TIMEOUT_MS)"
        + (f"; nor has {others}" if others else "")
        + ("" if first.signal is None else "; does it run `snapext done`, or write its pid to the pipe?")
    )
    return _hook_failure(
        phase, first.process, HookFailure("TimeoutError", message, "", first.hook), message, reportable
    )


def signals_failed(phase: str, reason: str, *, reportable: bool) -> Failure:
    error = HookFailure("SignalError", reason, "", None)
    return _hook_failure(phase, None, error, reason, reportable)


def not_ready(timeout_ms: int, app_answer: str | None, joined: int, workers: int | None) -> Failure:
    """`app_answer`: what the app answered to its last readiness check, or None if it was ready."""
    if app_answer is not None:
        why = f"the app's readiness check fails: {app_answer}"
    else:
        why = f"{joined} of {workers} processes have said hello (SNAPEXT_WORKERS); do all of them import snapext?"
    message = f"not ready after {timeout_ms} ms (SNAPEXT_READY_TIMEOUT_MS): {why}"
    return Failure("init", "Runtime.AppNotReady", message, EXIT_OTHER, "init")


def no_checkpoint(timeout_ms: int) -> Failure:
    message = (
        f"not ready after {timeout_ms} ms (SNAPEXT_READY_TIMEOUT_MS): nobody has run `snapext checkpoint`, "
        "which SNAPEXT_MODE=explicit waits for"
    )
    return Failure("init", "Runtime.AppNotReady", message, EXIT_OTHER, "init")


def crowded(limit: int, *, reportable: bool) -> Failure:
    message = f"a process could not join: there are {limit} connections already; does something flood the socket?"
    return Failure("init", "Runtime.TooManyProcesses", message, EXIT_OTHER, "init" if reportable else None)


def restore_refused(status: int, body: str) -> Failure:
    if status == 403:
        why = (
            "somebody asked for invocation/next first: the web adapter, which gives up waiting after 9.8 s when "
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
