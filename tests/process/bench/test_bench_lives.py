"""The benchmarks still run: their smallest piece, with real processes. What they measure is judged elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench import limited, middleware, restore, scale, startup
from bench.cpu_limit import NoLimitError, cpu_limit, throttled_s
from bench.kernel import forget_references, pss_mb, touched_pages
from bench.life import Life, Setup
from bench.listen import listening
from bench.rounds import interleave
from bench.stage import BARE, Stage


def test_lives_are_measured_in_rounds(tmp_path: Path) -> None:
    """snapext and HTTP hooks behind the bare adapter, and the floor: each answers, and nothing is dropped."""
    all_of_them = restore.measures(Stage(tmp_path), 1)
    chosen = (restore.SNAPEXT_BARE, restore.HTTP_BARE, restore.FLOOR)
    result = interleave({name: all_of_them[name] for name in chosen}, 1, lambda _line: None, warm_up=0)
    assert result.dropped == []
    assert [*result.figures["restore_ms"]] == [*chosen]
    assert [*result.figures["first_response_ms"]] == [restore.SNAPEXT_BARE, restore.HTTP_BARE]
    assert all(value > 0 for values in result.figures["restore_ms"].values() for value in values)
    assert [*result.figures["ping_cold_ms"]] == [restore.FLOOR]


def test_forked_processes_are_all_restored(tmp_path: Path) -> None:
    """The app of the scale benchmark, three processes with two hooks each; and the kernel tells of their pages."""
    setup = Setup(("{python}", "many.py", "3", "2"), BARE, snapext=True, workers=3)
    with Life(setup, Stage(tmp_path)) as life:
        extension = life.extension_pid
        forget_references(extension)
        assert life.restore().restore_ms > 0
        own, of_files = touched_pages(extension)
        assert own > 0
        assert of_files > 0
        assert pss_mb(extension) > 1
    assert scale.PROCESSES[-1] == 128


def test_the_extension_is_timed_until_it_listens(tmp_path: Path) -> None:
    """Its start goes on after it has registered: most of its modules are imported only then."""
    (figure,) = listening(Stage(tmp_path), BARE)().values()
    assert 1 < figure < 60_000


def test_the_middlewares_cost_is_measured(tmp_path: Path) -> None:
    """On both interfaces, beside the clocks that it reads."""
    result = middleware.measure(Stage(tmp_path), 1, lambda _line: None)
    assert result.dropped == []
    assert [*result.figures] == [middleware.BEFORE, middleware.AFTER]
    assert [*result.figures[middleware.BEFORE]] == [middleware.ASGI, middleware.WSGI, middleware.CLOCK]


@pytest.fixture
def _groups() -> None:
    try:
        with cpu_limit(limited.CPU_PERCENT):
            pass
    except NoLimitError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_groups")
def test_a_restore_is_measured_with_a_tenth_of_a_cpu(tmp_path: Path) -> None:
    """The whole environment is in the group, under the limit from the end of init on; and nothing of it is left."""
    setup = restore.setups(1)[restore.SNAPEXT_BARE]
    stage = Stage(tmp_path)
    measured = limited.life(stage, restore.SNAPEXT_BARE, setup)()
    assert [*measured] == ["restore_ms", "first_response_ms", "throttled_ms"]
    assert measured["first_response_ms"] > measured["restore_ms"] > 0
    with Life(dataclasses.replace(setup, cpu_percent=limited.CPU_PERCENT), stage) as life:
        group = life.children.group
        assert group is not None
        assert {*life.children.pids.values()} <= {int(pid) for pid in group.read_text().split()}
    assert not group.parent.exists()


@pytest.mark.usefixtures("_groups")
def test_starts_are_slowed_down_by_the_limit(tmp_path: Path) -> None:
    """`import snapext` with its first hook takes longer than 10 ms of a CPU, so the group has to wait for more."""
    stage = Stage(tmp_path)
    with cpu_limit(limited.CPU_PERCENT) as group:
        startup.import_snapext(stage, stage.python, startup.as_pip_installs(stage), group=group)()
        assert throttled_s(group) > 0
    assert [*limited.starts(stage)[startup.EXIT_ONLY]()] == ["register_ms"]
