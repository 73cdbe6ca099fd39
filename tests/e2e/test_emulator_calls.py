"""Our local Lambda compared with AWS's own emulator, call by call; docs/emulator.md has the table of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from emulator import CACHING, SNAP_START, emulator
from installed import HERE, Function
from probe import SCENARIOS

from helpers import ROOT, wait_until
from snapext_tools.simulator.platform import InitType, Platform

PROBE = str(HERE / "probe.py")
ON_DEMAND = "on-demand"
# Lives that get as far as a snapshot, or need none.
INIT_ENDS = (ON_DEMAND, "restored", "restore-error", "restore-init-error", "uninterested")
Answers = dict[str, list[dict[str, Any]]]


def read(folder: Path, scenario: str) -> Answers:
    roles = ["runtime", "extension"]
    if scenario == ON_DEMAND:
        roles.append("extension-shutdown")
    if scenario == "init-error":
        roles.remove("extension")  # it waits for a runtime that gets no further
    for role in roles:
        wait_until((folder / role).exists, 30)
    return {role: json.loads((folder / role).read_text()) for role in roles}


def ask_emulator(function: Function, folder: Path, scenario: str) -> Answers:
    for path in (function.opt / "extensions").iterdir():
        path.unlink()
    launcher = function.opt / "extensions" / "probe"
    launcher.write_text(f"#!/bin/sh\nexec {sys.executable} {PROBE} extension {scenario}\n")
    launcher.chmod(0o755)
    flags = [] if scenario == ON_DEMAND else [CACHING]
    env = {"PROBE_FOLDER": str(folder), **({} if scenario == ON_DEMAND else SNAP_START)}
    with emulator(function, *flags, sys.executable, PROBE, "runtime", scenario, **env) as platform:
        platform.begin({})
        if scenario == ON_DEMAND:
            wait_until(lambda: (folder / "runtime").exists() and (folder / "extension").exists(), 20)
            platform.terminate()
        return read(folder, scenario)


def ask_ours(folder: Path, scenario: str) -> Answers:
    init_type = InitType.ON_DEMAND if scenario == ON_DEMAND else InitType.SNAP_START
    processes: list[subprocess.Popen[bytes]] = []
    with Platform(init_type=init_type, extension_names=["probe"]) as platform:
        env = {**os.environ, "AWS_LAMBDA_RUNTIME_API": platform.address, "PROBE_FOLDER": str(folder)}
        try:
            processes.append(subprocess.Popen([sys.executable, PROBE, "extension", scenario], env=env))
            platform.wait_registered(20)
            processes.append(subprocess.Popen([sys.executable, PROBE, "runtime", scenario], env=env))
            platform.runtime_started()
            if scenario in INIT_ENDS:
                platform.wait_init_end(20)
            if scenario in INIT_ENDS and scenario != ON_DEMAND:
                platform.restore()
            if scenario == ON_DEMAND:
                platform.invoke(b"{}", 20)
                wait_until((folder / "extension").exists, 20)
                platform.shutdown()
            elif scenario == "uninterested":
                platform.invoke(b"{}", 20)
            return read(folder, scenario)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def row(answer: dict[str, Any]) -> str:
    """One line of the table in docs/emulator.md."""
    content = answer["error_type"] or ", ".join(answer["keys"] or []) or "(no JSON)"
    status = answer["status"] or "dropped"
    headers = ", ".join(answer["headers"]) or "\N{EN DASH}"
    return f"| {answer['call']} | {status} | {content} | {headers} |"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_our_local_lambda_answers_every_call_as_awss_emulator_does(
    function: Function, tmp_path: Path, scenario: str
) -> None:
    """Status, error type, the body's keys and type, and the headers; whatever differs is a fault of ours."""
    theirs_folder, ours_folder = tmp_path / "theirs", tmp_path / "ours"
    theirs_folder.mkdir()
    ours_folder.mkdir()
    theirs, ours = ask_emulator(function, theirs_folder, scenario), ask_ours(ours_folder, scenario)
    documented = (ROOT / "docs" / "emulator.md").read_text()
    for role, expected in theirs.items():
        for our_answer, their_answer in zip(ours[role], expected, strict=True):
            # Lambda names the trace to the runtime; the emulator does not (docs/emulator.md).
            our_answer["headers"] = [name for name in our_answer["headers"] if name != "lambda-runtime-trace-id"]
            if their_answer["call"] == "restore/next":
                # The emulator answers with the invocation that released it: a limit of this binary.
                their_answer |= {"headers": [], "keys": None, "type": ""}
            assert our_answer == their_answer
            assert row(their_answer) in documented
