"""The files that `snapext simulate` writes of a life: whole or not at all, and nothing else in their folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click
import pytest

from snapext_tools.cli.documents import Documents, writable
from snapext_tools.cli.simulate import simulate
from snapext_tools.cli.values import own_options
from told_lives import whole


def modes(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_asking_whether_a_file_can_be_written_changes_nothing(tmp_path: Path) -> None:
    """The life may fail to begin, and the page of the one before is still there."""
    old = tmp_path / "old.html"
    old.write_text("old")
    os.mkfifo(tmp_path / "pipe")
    for name in ("old.html", "new.html", "pipe"):
        assert writable(str(tmp_path / name)) == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.html", "pipe"]
    assert old.read_text() == "old"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--port x --report a.html -- app --trace b", {"--port": "x", "--report": "a.html"}),
        ("--json --report=a.html app --trace b", {"--json": "", "--report": "a.html"}),
        ("-d x=1 -Hname:v --trace b", {"-d": "x=1", "-H": "name:v", "--trace": "b"}),
        ("--trace b --freese 1 --report a.html", {"--trace": "b"}),
        ("app --report a.html", {}),
        ("--report", {"--report": ""}),
        ("-", {}),
    ],
)
def test_the_apps_own_options_are_never_taken_for_ours(words: str, expected: dict[str, str]) -> None:
    """With wrong usage too: its --report may name a file that must stay."""
    assert dict(own_options(simulate, words.split())) == expected


@pytest.mark.parametrize("name", ["", "-", "gone/life.html", ".", "x" * 300, "a\0b"])
def test_a_name_that_is_no_file_is_refused_before_the_life(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its name and the reason."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(click.BadParameter) as refused:
        writable(name)
    assert repr(name) in refused.value.message
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_as_a_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    """Also behind a link; a new one has the mode that any program's has."""
    old, link, new = tmp_path / "old.html", tmp_path / "link.html", tmp_path / "new.json"
    old.write_text("old")
    old.chmod(0o640)
    link.symlink_to("old.html")
    reader = old.open()
    assert Documents(report=writable(str(link)), trace=writable(str(new))).write(whole(1))
    assert reader.read() == "old"
    reader.close()
    assert old.read_text().startswith("<!doctype html>")
    assert link.is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert (modes(old), modes(new)) == (0o640, 0o666 & ~mask)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "new.json", "old.html"]


def test_a_folder_that_has_gone_meanwhile_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other file is written."""
    folder = tmp_path / "folder"
    folder.mkdir()
    documents = Documents(report=writable(str(folder / "life.html")), trace=writable(str(tmp_path / "trace.json")))
    folder.rmdir()
    assert not documents.write(whole(1))
    line = f"Error: cannot write --report {folder}/life.html: No such file or directory\n"
    assert capsys.readouterr().err == line
    assert (tmp_path / "trace.json").exists()
