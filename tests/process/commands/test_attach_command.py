"""What `snapext attach` and `snapext layer publish` print is what other programs take, and what they run themselves."""

from __future__ import annotations

import os
import subprocess

import pytest

from attach_template import PATCH, TEMPLATE, lay_out, run
from helpers import need
from snapext.wire import VERSION
from snapext_tools.cli.attach import attach as attach_command
from snapext_tools.cli.layer import layer as layer_command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the template and its script, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)
    return tmp_path


def test_the_patch_is_one_that_patch_takes(folder):
    """And the result is what --write writes; once more there is nothing left to change."""
    need("patch")
    (folder / "other.yaml").write_text(TEMPLATE)
    subprocess.run(["patch", "-p0", "-s", "other.yaml"], input=PATCH, text=True, check=True, timeout=20)
    mode = (folder / "template.yaml").stat().st_mode
    status, out, err = run(attach_command, "--template", "template.yaml", "--write", "App")

    assert (status, out) == (0, "")
    assert err.startswith("template.yaml: snapext is attached to App\n")
    assert (folder / "template.yaml").read_text() == (folder / "other.yaml").read_text()
    assert (folder / "template.yaml").stat().st_mode == mode
    assert sorted(os.listdir(folder)) == ["app", "other.yaml", "template.yaml"]
    assert run(attach_command, "--template", "template.yaml")[2] == "template.yaml: nothing to change for App\n"


def test_a_layer_for_all_is_shared_after_it_is_published(folder, monkeypatch):
    """Printed, it is a line that a shell runs; run, it shares the version that the first command made."""
    program, said = folder / "bin" / "aws", folder / "said"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >>{said}\n[ $2 = publish-layer-version ] && echo arn:snapext:7 || echo id\n'
    )
    program.chmod(0o755)
    (folder / "x.zip").write_text("")
    words = ("publish", "--zip", "x.zip", "--public", "--region", "eu-west-1")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    _, line, _ = run(layer_command, *words)
    subprocess.run(["sh", "-c", line], check=True, stdout=subprocess.DEVNULL)
    by_shell = said.read_text()
    said.unlink()

    assert run(layer_command, *words, "--run") == (0, "eu-west-1: arn:snapext:7\n", "")
    assert said.read_text() == by_shell
    published, shared = by_shell.splitlines()
    assert f"--description snapext {VERSION}" in published
    assert "add-layer-version-permission --region eu-west-1 --layer-name snapext --version-number 7 " in shared
    assert "--principal *" in shared


def test_the_commands_are_run_when_asked_for(folder, monkeypatch):
    """Each region's ARN is printed; the first that fails ends it with one line."""
    program = folder / "bin" / "aws"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$4" = us-east-1 ] && { echo "no\nkey" >&2; exit 253; }\necho "arn:$4:snapext:7"\n'
    )
    program.chmod(0o755)
    (folder / "x.zip").write_text("")
    words = ("publish", "--zip", "x.zip", "--run", "--region", "eu-west-1", "--region", "us-east-1")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    assert run(layer_command, *words) == (
        *(1, "eu-west-1: arn:eu-west-1:snapext:7\n"),
        "Error: us-east-1: aws publish-layer-version ended with status 253: no key\n",
    )
    monkeypatch.setenv("PATH", str(folder))
    status, _, err = run(layer_command, *words)
    assert (status, "there is no `aws` command" in err) == (1, True)
    (folder / "x.zip").unlink()
    assert "x.zip does not exist; make it: snapext layer build -o x.zip" in run(layer_command, *words)[2]
