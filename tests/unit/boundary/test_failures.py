"""The words about what went wrong: they name the process, the hook, the time and the variable."""

import re

import pytest

from helpers import for_each
from snapext.wire.messages import HookFailure
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT
from snapext_extension.boundary.failures import (
    Late,
    Process,
    app_not_ready,
    died,
    not_ready,
    raised,
    restore_refused,
    timed_out,
    too_few,
)

PROCESS = Process(4711, "gunicorn")
ERROR = HookFailure("ValueError", "no pool", 'File "app.py", line 1', "app.open_pool")
PLATFORM_PATTERN = r"(Runtime|Function)\.[A-Z][A-Za-z]+"
PHASES = pytest.mark.parametrize(
    ("phase", "error_type", "exit_status", "report"),
    [
        (BEFORE_SNAPSHOT, "Runtime.BeforeSnapshotError", 64, "init"),
        (AFTER_RESTORE, "Runtime.AfterRestoreError", 65, "restore"),
    ],
)


def of_phase(phase, *, reportable=True):
    """The three ways in which a phase can fail."""
    return [
        raised(phase, PROCESS, ERROR, 12.6, reportable=reportable),
        died(phase, PROCESS, "app.open_pool", 12.6, reportable=reportable),
        timed_out(phase, [Late(PROCESS, "app.open_pool")], 12.6, reportable=reportable),
    ]


@PHASES
@pytest.mark.parametrize("way", [0, 1, 2], ids=["raised", "died", "timed out"])
def test_a_failed_phase_names_process_hook_and_time(phase, error_type, exit_status, report, way):
    """Every failure of a phase has the managed runtime's type and exit status, and a message to act on."""
    failure = of_phase(phase)[way]

    for part in ("process 4711 (gunicorn)", "app.open_pool", "13 ms", phase):
        assert part in failure.message
    assert (phase, error_type, exit_status, report) == (
        failure.phase,
        failure.error_type,
        failure.exit_status,
        failure.runtime_report,
    )
    assert re.fullmatch(PLATFORM_PATTERN, failure.error_type)
    assert len(failure.message.splitlines()) == 1
    assert (failure.process, failure.error.hook) == (PROCESS, "app.open_pool")


@pytest.mark.parametrize("way", [0, 1, 2], ids=["raised", "died", "timed out"])
def test_a_failure_that_the_runtime_api_would_refuse_is_not_reported_there(way):
    """After the runtime has asked for an invocation only the Extensions API hears of it."""
    assert None is of_phase(AFTER_RESTORE, reportable=False)[way].runtime_report


def test_what_a_hook_raised_is_quoted():
    """The type and the text of the exception are in the message, its stack beside it."""
    failure = raised(AFTER_RESTORE, PROCESS, ERROR, 1.0, reportable=True)

    assert failure.message.endswith("ValueError: no pool")
    assert ERROR is failure.error


@pytest.mark.parametrize(
    "way",
    [died, lambda *args, reportable: timed_out(args[0], [Late(*args[1:3])], args[3], reportable=reportable)],
    ids=["died", "timed out"],
)
def test_without_a_hook_to_blame_the_message_says_so(way):
    """A process that ended or hung before its first hook is not said to have run one."""
    failure = way(BEFORE_SNAPSHOT, PROCESS, None, 5.0, reportable=True)

    assert "first" in failure.message
    assert "None" not in failure.message


def test_who_was_told_by_a_signal_is_not_said_to_run_a_hook():
    """The signal is named, and what its handler should have done."""
    late = timed_out(AFTER_RESTORE, [Late(PROCESS, None, "RTMIN+5")], 9_000.0, reportable=True).message
    ended = died(AFTER_RESTORE, PROCESS, None, 5.0, reportable=True, signal="RTMIN+5").message

    assert "the handler of RTMIN+5 in process 4711 (gunicorn)" in late
    assert "snapext done" in late
    assert "RTMIN+5" in ended
    assert "hook" not in late + ended


@for_each("phase", [BEFORE_SNAPSHOT, AFTER_RESTORE])
@for_each("others, more", [(0, None), (1, "nor did hook app.other in process 1 (b)"), (6, "and 2 more")])
def test_a_timeout_names_its_variable_and_who_else_was_late(phase, others, more):
    """A person who needs more time learns which setting gives it."""
    late = [Late(PROCESS, "app.hook"), *(Late(Process(number + 1, "b"), "app.other") for number in range(others))]
    message = timed_out(phase, late, 9_000.0, reportable=True).message

    assert f"SNAPEXT_{phase.upper()}_TIMEOUT_MS" in message
    assert more in message if more else "nor did" not in message


def test_an_app_that_is_not_ready_is_told_apart_from_one_that_lacks_processes():
    """Each of the two has its own remedy, and both name the variable of the time."""
    silent = not_ready(120_000, app_not_ready("GET http://h:1/ answered 500", 79))
    few = not_ready(120_000, too_few(4, [PROCESS], ["process 1 (gunicorn) (a master)"], [Process(9, "late")]))

    for failure in (silent, few):
        assert "120000 ms (SNAPEXT_READY_TIMEOUT_MS)" in failure.message
        assert (failure.runtime_report, failure.error_type, failure.exit_status) == ("init", "Runtime.AppNotReady", 1)
        assert re.fullmatch(PLATFORM_PATTERN, failure.error_type)
    assert "readiness check" in silent.message
    assert "79 processes of the function have ended" in silent.message
    assert "ended" not in app_not_ready("GET http://h:1/ answered 500", 0)
    assert "1 of 4 processes have joined (SNAPEXT_WORKERS): process 4711 (gunicorn)" in few.message
    assert "not counted: process 1 (gunicorn) (a master); not joined: process 9 (late)" in few.message


@pytest.mark.parametrize(
    ("status", "hint"),
    [(403, "AWS_LWA_ASYNC_INIT"), (404, "AWS_LAMBDA_INITIALIZATION_TYPE"), (500, "does not answer as documented")],
)
def test_a_refused_restore_says_what_to_look_at(status, hint):
    """Each refusal has a likely cause, which is named, and the platform's own words are quoted, not at any length."""
    failure = restore_refused(status, "  {}\n" + "x" * 5_000)

    assert hint in failure.message
    assert str(status) in failure.message
    assert len(failure.message) < 800
    assert failure.exit_status == 1
