"""Real programs that are signalled, beside a server on the socket: invariants 1 and 2 hold for them too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lives import IN_ORDER, Life, Simulate

HANDLERS = ["up", "before_snapshot", "after_restore"]
BOTH_GENERATIONS = ["builtin", "builtin-1.1"]
DEFAULT = {"SNAPEXT_SIGNALS": "1"}


def beside(*commands: str) -> list[str]:
    return ["python", "beside.py", *commands]


def check_told_by_signal(life: Life, count: int, signals: tuple[str, str]) -> set[int]:
    """Each of these processes was signalled once in each phase, and was done before anything else continued."""
    assert life.status == 0, life.stderr
    (answer,) = life.answers()
    by_pid: dict[int, list[str]] = {}
    for line in answer["trace"]:  # what had happened when the first request came
        if line["phase"] != "request":
            by_pid.setdefault(line["pid"], []).append(line["hook"])
    told = {pid for pid, hooks in by_pid.items() if "up" in hooks}
    assert len(told) == count
    assert {tuple(by_pid[pid]) for pid in told} == {tuple(HANDLERS)}
    assert [hooks for pid, hooks in by_pid.items() if pid not in told] == [IN_ORDER]
    for phase, signal in zip(HANDLERS[1:], signals, strict=True):
        signalled = [event for event in life.events("process_signalled") if event["phase"] == phase]
        assert sorted(event["pid"] for event in signalled) == sorted(told)
        assert {event["signal"] for event in signalled} == {signal}
        done = [event for event in life.events(phase) if event.get("signal")]
        assert sorted(event["pid"] for event in done) == sorted(told)
        assert all(event["ok"] and event["signal"] == signal and event["duration_ms"] > 0 for event in done)
        boundary = {"before_snapshot": "snapshot", "after_restore": "ready"}[phase]
        assert max(event["at_ms"] for event in done) <= life.events(boundary)[0]["at_ms"]
    assert told < life.pids
    assert life.events("warning") == []
    return told


def check_failed_closed(life: Life, phase: str, kind: str) -> str:
    """The one error, which names the process; returns its message."""
    assert life.status == 1
    assert life.events("invoke") == []
    (error,) = life.document["errors"]
    assert (error["phase"], error["type"]) == (phase, kind)
    (pid,) = {line["pid"] for line in life.trace if line["phase"] == "up"}
    assert error["pid"] == pid
    assert f"process {pid} (traps.sh)" in error["message"]
    assert "\n" not in error["message"]
    return str(error["message"])


# --- those who are told ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
@pytest.mark.parametrize("how", ["done", "pipe"])
def test_a_trap_runs_once_in_each_phase_before_the_first_request(simulate: Simulate, how: str, adapter: str) -> None:
    """Whether it runs `snapext done` or writes to the pipe, with either generation of the adapter."""
    life = simulate(beside(f"./traps.sh {how}"), "--adapter", adapter, **DEFAULT)
    check_told_by_signal(life, 1, ("RTMIN+4", "RTMIN+5"))


@pytest.mark.needs("node")
def test_a_node_process_takes_part(simulate: Simulate) -> None:
    """It has no realtime signals, so it gets others."""
    life = simulate(beside("node handlers.js"), SNAPEXT_SIGNALS="USR2,HUP")
    check_told_by_signal(life, 1, ("USR2", "HUP"))


@pytest.mark.needs("node")
def test_several_kinds_of_programs_are_told_in_one_phase(simulate: Simulate) -> None:
    """Each answers in its own way, and the phase waits for all."""
    commands = ["node handlers.js", "./traps.sh done USR2 HUP", "./traps.sh pipe USR2 HUP"]
    life = simulate(beside(*commands), "--freeze", "0.5", SNAPEXT_SIGNALS="USR2,HUP")
    check_told_by_signal(life, 3, ("USR2", "HUP"))


def test_forty_processes_are_told_at_once(simulate: Simulate) -> None:
    """Most of them write to the pipe, some run a command: no answer is lost."""
    commands = [*["./traps.sh pipe"] * 9, "./traps.sh done"]
    life = simulate(beside(*commands), COPIES="4", **DEFAULT)
    check_told_by_signal(life, 40, ("RTMIN+4", "RTMIN+5"))


def test_without_the_setting_nobody_is_signalled(simulate: Simulate) -> None:
    """Signals are opt-in."""
    life = simulate(beside("./traps.sh done"))
    assert life.status == 0, life.stderr
    (pid,) = {line["pid"] for line in life.trace if line["phase"] == "up"}
    assert life.hooks_of(pid) == ["up"]
    assert life.events("process_signalled") == []


def test_on_demand_nobody_is_signalled(simulate: Simulate) -> None:
    """There is no snapshot, and no phase to signal."""
    life = simulate(beside("./traps.sh done"), "--init-type", "on-demand", **DEFAULT)
    assert life.status == 0, life.stderr
    assert life.events("process_signalled") == []


# --- those who are left alone ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["nothing", "ignore", "block"])
def test_a_process_without_a_handler_is_never_sent_a_signal(simulate: Simulate, what: str) -> None:
    """It would be ended by it; nor is one waiting for it that ignores or blocks the signal."""
    life = simulate(beside(f"python deaf.py {what}"), **DEFAULT)
    assert life.status == 0, life.stderr
    (answer,) = life.answers()
    assert list(answer["programs"].values()) == [{"alive": True, "pending": 0}]
    assert life.events("process_signalled") == []
    assert len(life.pids) == 1


# --- those who fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
def test_a_process_that_ends_on_the_signal_fails_the_phase(simulate: Simulate, adapter: str) -> None:
    """The report names it and the signal, and no snapshot is taken."""
    life = simulate(beside("./traps.sh exit"), "--adapter", adapter, **DEFAULT)
    message = check_failed_closed(life, "before_snapshot", "ProcessEnded")
    assert "ended without an answer to RTMIN+4" in message
    assert life.events("snapshot") == []


@pytest.mark.parametrize("how", ["failed", "failed-pipe"])
def test_a_handler_that_says_it_failed_fails_the_phase(simulate: Simulate, how: str) -> None:
    """In its own words."""
    message = check_failed_closed(simulate(beside(f"./traps.sh {how}"), **DEFAULT), "before_snapshot", "HandlerFailed")
    assert message.endswith("no database")


@pytest.mark.parametrize(
    ("phase", "traps"), [("before_snapshot", "RTMIN+4 RTMIN+5"), ("after_restore", "USR1 RTMIN+5")]
)
def test_a_handler_that_never_acknowledges_uses_up_the_budget(simulate: Simulate, phase: str, traps: str) -> None:
    """In either phase; the report says which variable, and what the handler should have done."""
    life = simulate(beside(f"./traps.sh never {traps}"), **DEFAULT, **{f"SNAPEXT_{phase.upper()}_TIMEOUT_MS": "1500"})
    message = check_failed_closed(life, phase, "TimeoutError")
    for part in (f"SNAPEXT_{phase.upper()}_TIMEOUT_MS", "did not finish after", "snapext done"):
        assert part in message


def test_without_acknowledgement_it_goes_on_and_says_that_nobody_knows(simulate: Simulate) -> None:
    """SNAPEXT_SIGNAL_ACK=none: unconfirmed, and never reported as done."""
    life = simulate(beside("./traps.sh never"), SNAPEXT_SIGNAL_ACK="none", **DEFAULT)
    assert life.status == 0, life.stderr
    (pid,) = {line["pid"] for line in life.trace if line["phase"] == "up"}
    assert life.hooks_of(pid) == HANDLERS
    unconfirmed = [event for event in life.events("warning") if event["about"] == "unconfirmed"]
    assert [(event["pid"], event["phase"]) for event in unconfirmed] == [(pid, phase) for phase in HANDLERS[1:]]
    assert [e for e in life.document["events"] if e["event"] in HANDLERS and e["pid"] == pid] == []


# --- what is in the way ----------------------------------------------------------------------------------------------


def test_junk_in_the_pipe_is_harmless(simulate: Simulate) -> None:
    """Binary, endless or meaningless: it is refused in a few warnings, and the answer that comes after it counts."""
    life = simulate(beside("./traps.sh junk", "./traps.sh done"), **DEFAULT)
    assert life.status == 0, life.stderr
    for pid in {line["pid"] for line in life.trace if line["phase"] == "up"}:
        assert life.hooks_of(pid) == HANDLERS
    refused = [event for event in life.events("warning") if event["about"] == "acknowledgement_refused"]
    assert 1 <= len(refused) <= 12  # ten, the 100th, the 1000th


@pytest.mark.parametrize("what", ["symlink", "directory"])
def test_a_pipe_that_is_none_is_refused(simulate: Simulate, tmp_path: Path, what: str) -> None:
    """What is in its place is left as it is; init ends with one line that names it."""
    folder = tmp_path / "bridge"
    folder.mkdir(mode=0o700)
    pipe, other = folder / "done", tmp_path / "precious"
    other.write_text("precious")
    if what == "symlink":
        pipe.symlink_to(other)
    else:
        pipe.mkdir()
    life = simulate(beside("./traps.sh done"), SNAPEXT_SOCKET=str(folder / "bridge.sock"), **DEFAULT)
    (error,) = one_line_of_init(life)
    assert f"{pipe} is in the way" in error["message"]
    assert pipe.is_dir() if what == "directory" else pipe.read_text() == "precious"
    assert other.read_text() == "precious"


@pytest.mark.parametrize("value", ["nonsense", "RTMIN+4", "RTMIN+4,RTMIN+4", "KILL,TERM", "RTMIN+4,RTMIN+99", ""])
def test_signals_that_are_not_accepted_end_init_with_one_line(simulate: Simulate, value: str) -> None:
    """It names the variable, the value, and what would do."""
    life = simulate(beside("./traps.sh done"), SNAPEXT_SIGNALS=value)
    (error,) = one_line_of_init(life)
    assert f"SNAPEXT_SIGNALS={value!r} is not accepted: two different signals" in error["message"]


def one_line_of_init(life: Life) -> list[dict[str, Any]]:
    assert life.status == 1
    assert life.events("invoke") == []
    assert "Traceback" not in life.stderr
    assert all("\n" not in error["message"] and error["phase"] == "init" for error in life.document["errors"])
    return list(life.document["errors"])
