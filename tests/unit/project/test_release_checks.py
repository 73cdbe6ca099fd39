"""`.ci/release`: what is not fit to be released is refused, each with its reason."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import shutil
import stat
from pathlib import Path
from types import ModuleType

import pytest

from helpers import ROOT
from snapext.wire import VERSION
from snapext_layer.tree import FILE_MODE, PROGRAM_MODE, Entry
from snapext_layer.write import write_zip


@pytest.fixture
def release(tmp_path: Path) -> ModuleType:
    """The script, over a copy of the files that it reads; they are as for a release."""
    loader = importlib.machinery.SourceFileLoader("release", str(ROOT / ".ci" / "release"))
    spec = importlib.util.spec_from_loader("release", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    for name in ("src/snapext/wire/__init__.py", "pyproject.toml", "SECURITY.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in module.TO_FILL_IN:
        path = tmp_path / name
        path.write_text(path.read_text().replace("OWNER", "somebody").replace("example.org", "somebody.net"))
    final = VERSION.partition("rc")[0]
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {final} (2027-01-02)\n\n- One.\n- Two: [two](docs/protocol.md).\n\n## 0.1.9 (…)\n\n- Old.\n"
    )
    module.ROOT = tmp_path
    return module


def test_a_tree_that_is_fit_for_its_tag_is_released(release: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """With the notes of its own section, whose links lead to the docs site."""
    assert (release.main(["check", f"v{VERSION}"]), release.main(["version"]), release.main(["notes"])) == (0, 0, 0)
    site = release.addresses()["Documentation"]
    assert capsys.readouterr() == (f"{VERSION}\n- One.\n- Two: [two]({site}protocol/).\n", "")


def test_a_tree_that_is_not_is_refused_with_every_reason(
    release: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another tag, a changelog without a date, a value that nobody has filled in."""
    (release.ROOT / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} (unreleased)\n\n- One.\n")
    (release.ROOT / "SECURITY.md").write_text("mail security@example.org")
    assert release.main(["check", "v9.9.9"]) == 1
    reasons = capsys.readouterr().err.splitlines()
    assert len(reasons) == 3
    for reason, said in zip(
        reasons, ("the tag v9.9.9", "(unreleased)", "SECURITY.md still says example.org"), strict=True
    ):
        assert said in reason


def test_a_layer_is_unpacked_with_its_modes_and_has_to_be_complete(
    release: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A release's is compiled for each Python of Lambda's own."""
    entries = [Entry("bin/x", b"#!/bin/sh\n", PROGRAM_MODE), Entry("a.py", b"", FILE_MODE)]
    entries += [Entry(f"__pycache__/a.cpython-{python}.pyc", b"", FILE_MODE) for python in ("312", "313")]
    write_zip(entries, tmp_path / "layer.zip")
    words = ["unpack", str(tmp_path / "layer.zip"), str(tmp_path / "opt")]

    assert release.main(words) == 0
    assert stat.S_IMODE((tmp_path / "opt" / "bin" / "x").stat().st_mode) == PROGRAM_MODE
    assert stat.S_IMODE((tmp_path / "opt" / "a.py").stat().st_mode) == FILE_MODE
    assert release.main([*words, "--complete"]) == 1
    assert "not compiled for Python 3.14" in capsys.readouterr().err
    assert release.main(["unpack"]) == 1
