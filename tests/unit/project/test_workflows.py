"""The workflows: they call what a person runs, hold few rights, and publish only what was tested."""

from __future__ import annotations

import re
from typing import Any

import yaml

from helpers import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
JOBS = {f"{name}: {job}": it for name, workflow in WORKFLOWS.items() for job, it in workflow["jobs"].items()}
STEPS = [(job, step) for job, it in JOBS.items() for step in it.get("steps", ())]
MAY_WRITE = {
    "release.yml: pypi": {"id-token"},
    "release.yml: layer": {"id-token"},
    "release.yml: image": {"packages"},
    "release.yml: site": {"id-token", "pages"},
    "release.yml: announce": {"contents"},
}
"""What a job may write; every other only reads the repository."""


def on(workflow: str) -> dict[str, Any]:
    return WORKFLOWS[workflow][True]  # YAML 1.1 reads `on` so


def test_each_step_calls_what_a_person_runs_too():
    """A target of the Makefile or a script of .ci, which exists; a few lines move files, or log in."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    others = []
    for _, step in STEPS:
        for line in step.get("run", "").splitlines():
            words = line.split()
            if words[0] == "make":
                assert words[1] in targets, line
            elif scripts := [word for word in words if word.startswith(".ci/")]:
                assert all((ROOT / script).stat().st_mode & 0o100 for script in scripts), line
            else:
                others.append(words[0])
    assert sorted(others) == ["echo", "mkdir", "test"]


def test_actions_are_named_by_a_whole_version_or_a_commit():
    """A tag such as v4 moves. docs/releasing.md says how each becomes a commit."""
    used = {step["uses"] for _, step in STEPS if "uses" in step}
    assert [name for name in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@(v\d+\.\d+\.\d+|[0-9a-f]{40})", name)] == []
    one_version_each = {name.partition("@")[0] for name in used}
    assert len(one_version_each) == len(used)


def test_a_job_may_write_what_it_has_to_and_nothing_else():
    """And no step leaves its token in the clone."""
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] in ({}, {"contents": "read"}), name
    for job, it in JOBS.items():
        writes = {right for right, kind in it.get("permissions", {}).items() if kind == "write"}
        assert writes == MAY_WRITE.get(job, set()), job
    for job, step in STEPS:
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False, job


def test_a_change_from_outside_meets_no_secret_and_publishes_nothing():
    """Pull requests run CI alone; there is no secret at all, and what publishes does so for a tag."""
    texts = "".join(path.read_text() for path in FOLDER.glob("*.yml"))
    assert "secrets." not in texts
    assert "pull_request_target" not in texts
    assert set(on("release.yml")) == {"push", "workflow_dispatch"}
    assert set(on("release.yml")["push"]) == {"tags"}
    for job in MAY_WRITE:
        it = JOBS[job]
        gated = it.get("if") == "${{ github.event_name == 'push' }}" and {"tests", "check"} <= set(it["needs"])
        assert gated or set(it["needs"]) == {"pypi", "layer", "image"}, job


def test_no_text_of_the_event_becomes_a_part_of_a_command():
    """It comes as a variable: in the command itself it would be run."""
    assert [step["run"] for _, step in STEPS if "${{" in step.get("run", "")] == []


def test_each_supported_python_is_tried():
    """The oldest is that of pyproject.toml, the newest the one that the layer is compiled for."""
    for job in ("ci.yml: test", "release.yml: check"):
        assert JOBS[job]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
