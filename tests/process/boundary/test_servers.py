"""Every hook once in every process, in order, before the first request: on each server of docs/guarantees.md."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from lives import IN_ORDER, Life, Simulate


@dataclass(frozen=True)
class Setup:
    """A server as a user would start it, and how many processes must have run their hooks."""

    command: str
    workers: int
    processes: int


GUNICORN = "gunicorn -b 127.0.0.1:{port}"
SETUPS = {
    "fastapi gunicorn": Setup(f"{GUNICORN} -k uvicorn_worker.UvicornWorker -w 4 tracing_fastapi:app", 4, 4),
    "fastapi uvicorn": Setup("uvicorn --port {port} --workers 2 tracing_fastapi:app", 2, 2),
    "fastapi hypercorn": Setup("hypercorn -b 127.0.0.1:{port} -w 2 tracing_fastapi:app", 2, 2),
    "flask gunicorn": Setup(f"{GUNICORN} -w 3 tracing_flask:app", 3, 3),
    "flask gunicorn preload": Setup(f"{GUNICORN} -w 3 --preload tracing_flask:app", 3, 4),
    "flask waitress": Setup("waitress-serve --listen 127.0.0.1:{port} tracing_flask:app", 1, 1),
    "django gunicorn": Setup(f"{GUNICORN} -w 2 tracing_django:application", 2, 2),
    "http.server": Setup("python tracing_http_server.py", 1, 1),
}
BOTH_GENERATIONS = ["builtin", "builtin-1.1"]


def check_boundary(life: Life, processes: int) -> None:
    assert life.status == 0, life.stderr
    assert life.document["ok"] is True
    assert len(life.pids) == processes
    for pid in life.pids:
        assert life.hooks_of(pid) == IN_ORDER
    last_hook = max(line["at_ns"] for line in life.trace if line["phase"] != "request")
    assert [line for line in life.requests() if line["at_ns"] < last_hook] == []


@pytest.mark.cells(1, before="exact, in every process", after="exact, in every process", first="exact")
@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS.keys())
def test_each_hook_runs_once_in_each_process_before_the_first_request(
    simulate: Simulate, setup: Setup, adapter: str
) -> None:
    """With either generation of the adapter, and the first answer already shows what the hooks did."""
    life = simulate(setup.command, "--workers", str(setup.workers), "--adapter", adapter)
    check_boundary(life, setup.processes)
    (answer,) = life.answers()
    assert answer["ran"] == IN_ORDER
    assert (answer["restored"], answer["has_board"]) == (True, True)
    assert answer["environment_id"] == life.document["environment_id"]
    assert answer["pid"] in life.pids


@pytest.mark.parametrize("setup", [SETUPS["flask gunicorn"], SETUPS["flask gunicorn preload"]], ids=["", "preload"])
def test_without_a_worker_count_the_boundary_waits_until_no_more_processes_join(
    simulate: Simulate, setup: Setup
) -> None:
    """Nobody has to say how many there are."""
    check_boundary(simulate(setup.command), setup.processes)


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
@pytest.mark.parametrize("name", ["flask gunicorn", "http.server"])
def test_on_demand_runs_no_hook_and_serves(simulate: Simulate, name: str, adapter: str) -> None:
    """As in the managed runtime: hooks belong to SnapStart. Nor is anything made ready for them."""
    life = simulate(SETUPS[name].command, "--init-type", "on-demand", "--adapter", adapter)
    assert life.status == 0, life.stderr
    assert [event["status"] for event in life.events("invoke")] == [200]
    assert [line for line in life.trace if line["phase"] != "request"] == []
    assert life.document["environment_id"] is None
    assert [answer["has_board"] for answer in life.answers()] == [False]


@pytest.mark.parametrize("adapter", BOTH_GENERATIONS)
def test_the_adapters_own_hook_paths_do_not_disturb_the_boundary(simulate: Simulate, adapter: str) -> None:
    """With a path set, an adapter of the newer generation checks readiness once more before the snapshot."""
    life = simulate(
        SETUPS["http.server"].command,
        *("--adapter", adapter),
        AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH="/before",
        AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/after",
    )
    assert life.status == 0, life.stderr
    (pid,) = life.pids
    assert life.hooks_of(pid) == IN_ORDER
    order = [line.get("hook") or line["path"] for line in life.trace if line.get("path") != "/ready"]
    posts = {"builtin": ([], []), "builtin-1.1": (["/before"], ["/after"])}[adapter]
    assert order == [*IN_ORDER[:2], *posts[0], *posts[1], *IN_ORDER[2:], "/"]


def test_a_frozen_environment_goes_on_where_it_stopped(simulate: Simulate) -> None:
    """Every process is stopped between snapshot and restore, and the boundary still holds."""
    life = simulate(SETUPS["flask gunicorn"].command, "--workers", "3", "--freeze", "1")
    check_boundary(life, 3)
    (snapshot,), (restore,) = life.events("snapshot"), life.events("restore")
    assert restore["at_ms"] - snapshot["at_ms"] >= 1000
    silent = [event for event in life.document["events"] if snapshot["at_ms"] < event["at_ms"] < restore["at_ms"]]
    assert silent == []


def test_clones_of_one_environment_draw_different_numbers(simulate: Simulate) -> None:
    """Workers forked from one preloaded image share its generator's state until the restore reseeds each of them."""
    command = "gunicorn -b 127.0.0.1:{port} -w 3 --preload seeded_flask:app"
    life = simulate(command, "--workers", "3")
    drawn = [line["drawn"] for line in life.trace if line["phase"] == "after_restore"]
    assert len(drawn) == 4
    assert len(set(drawn)) == 4


def test_an_app_that_never_mentions_snapext_takes_part(simulate: Simulate) -> None:
    """It imports snapshot_restore_py, as the managed runtime's users do."""
    life = simulate("python only_aws_names.py snapshot_restore_py")
    assert life.status == 0, life.stderr
    assert [line["hook"] for line in life.trace if line["phase"] != "request"] == ["before", "after"]


@pytest.mark.parametrize("module", ["snapshot_restore_py", "snapshot_restore"])
def test_an_app_works_without_awss_module_and_without_snapext_installed(simulate: Simulate, module: str) -> None:
    """The autostart folder provides both names, and snapext itself, where no other module has them."""
    life = simulate(["python", "-S", "-c", _WITHOUT_SITE_PACKAGES, module])
    assert life.status == 0, life.stderr
    assert [line["hook"] for line in life.trace if line["phase"] != "request"] == ["before", "after"]


# -S leaves out site-packages, and sitecustomize with them: run that one as `site` would.
_WITHOUT_SITE_PACKAGES = (
    "import sys, runpy, sitecustomize; sys.argv = ['only_aws_names.py', *sys.argv[1:]];"
    " runpy.run_path('only_aws_names.py', run_name='__main__')"
)


@pytest.mark.parametrize(("app", "bind"), [("app", "early"), ("late_app", "late")])
def test_async_hooks_run_on_the_apps_own_loop(simulate: Simulate, app: str, bind: str) -> None:
    """A pool made in an after-restore hook must belong to the loop that will use it."""
    life = simulate(f"uvicorn --port {{port}} async_hooks:{app}", BIND=bind)
    assert life.status == 0, life.stderr
    assert life.answers() == [{"same_loop": True}]
