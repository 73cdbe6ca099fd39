"""Processes that appear between the snapshot and the restore, or after it (invariant 3)."""

from __future__ import annotations

from lives import IN_ORDER, Life, Simulate

AFTER = ["after_first", "after_second"]


def settled(life: Life) -> tuple[int, list[str]]:
    """The late process, and what had run in it when it was up to date."""
    (line,) = [line for line in life.trace if line["phase"] == "settled"]
    return line["pid"], line["ran"]


def test_a_process_from_before_the_snapshot_that_joins_after_it_runs_its_after_hooks_at_once(
    simulate: Simulate,
) -> None:
    """It is as stale as the others; its before-snapshot hooks are lost, and `simulate` does not call that OK."""
    life = simulate("python late.py", "--freeze", "0.5", "--request", "GET /wait", LATE="before")
    assert life.status == 1
    pid, ran = settled(life)
    assert ran == AFTER
    assert [event["pid"] for event in life.events("after_restore")].count(pid) == 1
    errors = [(error["type"], error["pid"]) for error in life.document["errors"]]
    assert ("JoinedTooLate", pid) in errors
    assert {of for _, of in errors} == {pid}, errors  # NotInTime as well, if it joins just before `ready`


def test_a_process_that_starts_after_the_restore_runs_nothing(simulate: Simulate) -> None:
    """It has nothing from before the snapshot to fix, and counts as restored from the start."""
    life = simulate("python late.py", "--request", "GET /spawn")
    assert life.status == 0, life.stderr
    _, ran = settled(life)
    assert ran == []


def test_a_fork_of_a_mended_process_runs_nothing(simulate: Simulate) -> None:
    """Its parent had already fixed the memory that it copied."""
    life = simulate("python late.py", "--request", "GET /fork")
    assert life.status == 0, life.stderr
    _, ran = settled(life)
    assert ran == []


def test_a_preloaded_master_that_forks_after_the_restore_makes_workers_that_run_nothing(simulate: Simulate) -> None:
    """The master itself ran its hooks, so its new worker needs none."""
    command = "gunicorn -c gunicorn_late.py -b 127.0.0.1:{port} -w 2 --preload growing_flask:app"
    life = simulate(command, "--workers", "2", "--request", "GET /grow")
    assert life.status == 0, life.stderr
    pid, ran = settled(life)
    assert ran == []
    joined = {event["pid"] for event in life.events("process_joined")}
    assert len(joined) == 4
    assert all(life.hooks_of(other) == IN_ORDER for other in joined - {pid})
