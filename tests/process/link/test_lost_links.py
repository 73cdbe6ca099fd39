"""A living process that loses its link must still run its hooks: snapext waits for it and names it."""

from __future__ import annotations

import pytest

from lives import IN_ORDER, Life, Simulate

SETTLE = {"SNAPEXT_SETTLE_MS": "200"}
SOON = {"SNAPEXT_READY_TIMEOUT_MS": "20000", "SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS": "20000"}
RAW = ["before_snapshot", "after_restore"]


def beside(when: str, then: str = "live") -> list[str]:
    return ["python", "beside.py", f"python raw_client.py {when} {then}"]


def lost(life: Life) -> int:
    """The process that has lost its link."""
    (pid,) = {line["pid"] for line in life.trace if line["phase"] == "lost"}
    return int(pid)


def calls(life: Life) -> list[str]:
    return [event["error_type"] for event in life.document["events"] if "error_type" in event]


def check_held(life: Life) -> None:
    """All went well, for the process that had lost its link as for the one beside it."""
    assert life.status == 0, life.stderr
    (server,) = {line["pid"] for line in life.trace if line.get("hook") == "before_first"}
    assert life.hooks_of(server) == IN_ORDER
    last_hook = max(line["at_ns"] for line in life.trace if line["phase"] in RAW)
    assert min(line["at_ns"] for line in life.requests()) > last_hook


def test_init_waits_for_a_process_that_has_lost_its_link_and_fails_naming_it(simulate: Simulate) -> None:
    """It has hooks, and nothing could tell it a phase."""
    life = simulate(beside("init"), **SETTLE, SNAPEXT_READY_TIMEOUT_MS="5000")
    assert life.status == 1
    (error,) = life.document["errors"]
    assert error["phase"] == "init"
    assert f"process {lost(life)} (raw) has registered 2 hooks, and lost its connection" in error["message"]
    assert calls(life) == ["Runtime.AppNotReady", "Extension.AppNotReady"]
    assert [event["pid"] for event in life.events("link_lost")] == [lost(life)]
    assert life.events("snapshot") == []


def test_a_link_that_is_lost_after_the_answer_fails_the_version_and_not_its_clones(simulate: Simulate) -> None:
    """Its after-restore hooks could run in no clone, so there is none."""
    life = simulate(beside("before"), WAIT_FOR="lost", **SETTLE, SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS="3000")
    assert life.status == 1
    (error,) = life.document["errors"]
    assert (error["phase"], error["pid"]) == ("before_snapshot", lost(life))
    assert "lost its connection" in error["message"]
    assert calls(life) == ["Runtime.BeforeSnapshotError", "Extension.BeforeSnapshotError"]
    assert life.events("snapshot") == []


def test_the_gate_stays_shut_for_one_that_lost_its_link_in_the_snapshot(simulate: Simulate) -> None:
    """Nobody is served by a clone in which its after-restore hooks have not run, and it is named."""
    life = simulate(beside("snapshot"), "--freeze", "0.1", **SETTLE, SNAPEXT_AFTER_RESTORE_TIMEOUT_MS="2500")
    assert life.status == 1
    (error,) = life.document["errors"]
    assert (error["phase"], error["pid"]) == ("after_restore", lost(life))
    assert "lost its connection" in error["message"]
    assert calls(life) == ["Runtime.AfterRestoreError", "Extension.AfterRestoreError"]
    assert life.events("ready") == []
    assert life.requests() == []


@pytest.mark.parametrize("adapter", ["builtin", "builtin-1.1"])
def test_one_that_comes_back_after_the_restore_is_told_and_waited_for(simulate: Simulate, adapter: str) -> None:
    """Half a second later, as if nothing had been."""
    life = simulate(beside("snapshot", "return"), "--freeze", "0.1", "--adapter", adapter, **SETTLE)
    check_held(life)
    assert life.hooks_of(lost(life)) == RAW
    assert [event["pid"] for event in life.events("link_restored")] == [lost(life)]


@pytest.mark.parametrize("when", ["init", "snapshot"])
def test_one_that_ends_owes_nothing_any_more(simulate: Simulate, when: str) -> None:
    """No clone holds anything of it."""
    check_held(simulate(beside(when, "exit"), **SETTLE))


@pytest.mark.parametrize("program", ["exec", "exec-same"])
@pytest.mark.parametrize("when", ["init", "before"])
def test_one_that_executes_another_program_owes_nothing_any_more(simulate: Simulate, when: str, program: str) -> None:
    """Its hooks are gone with its memory, even if the same interpreter runs the next program."""
    wait_for = {"WAIT_FOR": "lost"} if when == "before" else {}
    check_held(simulate(beside(when, program), **SETTLE, **wait_for, **SOON))


def test_one_that_has_a_second_connection_when_the_first_ends_has_lost_nothing(simulate: Simulate) -> None:
    """Somebody else may have held a copy of the first one open."""
    check_held(simulate(beside("twice"), **SETTLE, **SOON))


def test_the_150th_process_that_loses_its_link_is_treated_like_the_first(simulate: Simulate) -> None:
    """Each is noticed, waited for, told when it is back, and lost again without a debt that is not its own."""
    life = simulate(["python", "beside.py", "python raw_crowd.py 150"], **SETTLE, **SOON)
    check_held(life)
    raw = [process["pid"] for process in life.document["processes"] if process["name"] == "raw"]
    assert len(raw) == 150
    assert [life.hooks_of(pid) for pid in raw] == [RAW] * 150
