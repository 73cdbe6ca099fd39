"""docs/start-zip.md and docs/start-image.md: what is typed there, as it stands on the page, with what it prints."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers import LIMIT_S, ROOT, clean_environ, free_port
from snapext_tools.cli.group import snapext

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = "8000"
"""The app's port in both examples."""


@pytest.mark.parametrize("kind", ["zip", "image"])
def test_the_page_goes_from_a_judged_to_an_attached_app_that_has_lived(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command is run, in order; what the page shows of its output is what it prints.

    One life is enough, that of the zip: the same server is in the image, and nothing but its end follows there.
    """
    app = shutil.copytree(ROOT / "examples" / f"start_{kind}", tmp_path / f"hello-{kind}")
    monkeypatch.chdir(app)
    (_, new), *blocks = BLOCK.findall((ROOT / "docs" / f"start-{kind}.md").read_text())
    assert new.endswith(f"cp -r examples/start_{kind} ~/hello-{kind} && cd ~/hello-{kind}\n"), (
        "the folder in which the rest is run"
    )
    printed = ""
    for language, text in blocks:
        if language == "python":
            with (app / "app" / "main.py").open("a") as file:
                file.write(f"\n\n{text}")
        elif language == "dockerfile":
            dockerfile = app / "app" / "Dockerfile"
            *lines, command = dockerfile.read_text().splitlines(keepends=True)
            dockerfile.write_text("".join([*lines, text, command]))
        elif kind == "image" and text.startswith("snapext simulate "):
            break
        elif language == "sh":
            printed = "".join(run(line) for line in text.splitlines())
        elif language == "diff":
            assert text in printed
        else:
            for line in text.splitlines():
                assert re.search(shown(line), printed), f"{line!r} of the page is not in:\n{printed}"


def shown(line: str) -> str:
    """A pattern: what may differ from what the page shows is a time, and what it leaves out at the end of a line."""
    return re.sub(r"\d+\\\.\d\\ ms", "[0-9.]+ ms", re.escape(line.removesuffix("…")))


def run(line: str) -> str:
    """What a command of the page prints. The app listens on a port that is free."""
    words = shlex.split(line)
    if words[:2] == ["snapext", "simulate"]:
        template = Path("template.yaml")
        template.write_text(template.read_text().replace(PORT, str(free_port())))
    elif words[0] == "snapext":
        done = CliRunner().invoke(snapext, words[1:])
        nothing_yet = words[1] == "doctor" and done.exit_code == 2
        assert done.exit_code == 0 or nothing_yet, done.output
        return done.stdout
    environ = clean_environ(PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    typed = subprocess.run(["bash", "-c", line], env=environ, capture_output=True, text=True, timeout=3 * LIMIT_S)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    return typed.stdout
