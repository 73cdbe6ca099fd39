"""The benchmarks still run: their smallest piece, with real processes. What they measure is judged elsewhere."""

from __future__ import annotations

from pathlib import Path

from bench import restore, scale
from bench.kernel import forget_references, pss_mb, touched_pages
from bench.life import Life, Setup
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
