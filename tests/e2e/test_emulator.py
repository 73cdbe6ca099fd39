"""The installed layer and a real adapter under AWS's own emulator, and our local Lambda compared with it call by call.

The emulator has no restore: it shows the other half of a life.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from installed import HERE, Function, tool

from helpers import wait_until
from snapext.simulator import apigw
from snapext.simulator.platform import InitType, Platform

RIE = "rie-1.170.0"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Emulator:
    """A running emulator: its log, and the door for invocations."""

    def __init__(self, log: Path, port: int) -> None:
        self._log = log
        self._url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def invoke(self, event: Any) -> requests.Response:
        # With a trace id, as every invocation has on Lambda: the emulator makes none of its own.
        headers = {"X-Amzn-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"}
        return requests.post(self._url, data=json.dumps(event), headers=headers, timeout=60)


@contextmanager
def emulator(function: Function, *command: str, **env: str) -> Iterator[Emulator]:
    """AWS's emulator with the function's /opt; ended with everything that it started."""
    api, door = free_port(), free_port()
    words = [
        *(str(tool(RIE)), "--log-level", "debug", "--runtime-api-address", f"127.0.0.1:{api}"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{door}", *command),
    ]
    log = function.root / "emulator.log"
    environ = function.environ(AWS_LWA_READINESS_CHECK_PORT="9555", SNAPEXT_LOG_LEVEL="debug", **env)
    environ["SNAPEXT_SOCKET"] = str(function.root / "bridge" / "bridge.sock")
    environ["SNAPEXT_PORT"] = environ["AWS_LWA_READINESS_CHECK_PORT"] = str(free_port())
    # A pid namespace: when its first process ends, the kernel ends whatever the emulator has started.
    namespace = function.in_namespace(*words)
    namespace[1:2] = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with log.open("w") as output:
        process = subprocess.Popen(namespace, env=environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: "Runtime API Server listening" in log.read_text(), 20)
        yield Emulator(log, door)
    finally:
        process.kill()
        process.wait(10)


def at(log: str, pattern: str) -> int:
    """Where in the log something first stands."""
    found = re.search(pattern, log)
    assert found, f"{pattern} is not in the log:\n{log[-6000:]}"
    return found.start()


@pytest.mark.parametrize("adapter", ["0.9.1", "1.0.0-rc1"])
def test_the_layer_lives_under_awss_emulator(function: Function, adapter: str) -> None:
    """It registers under its file name, the runtime starts after that, init ends, an invocation is answered."""
    function.add_adapter(adapter)
    with emulator(function, "/opt/snapext/bootstrap") as platform:
        response = platform.invoke(apigw.http_event("GET", "/"))
        body = json.loads(apigw.parse_response(response.content).body)
    assert body["ran"] == []
    log = platform.log
    registered = at(log, r"POST /2020-01-01/extension/register.*Lambda-Extension-Name:\[snapext\]")
    assert at(log, r"External agent snapext \(.*\) registered, subscribed to \[SHUTDOWN\]")
    assert registered < at(log, "Start runtime")
    assert at(log, r"GET /2020-01-01/extension/event/next") < at(log, r"INIT RTDONE\(status: success\)")


def test_the_extension_ends_on_the_emulators_shutdown(function: Function) -> None:
    """By itself and with status 0, well before it would be killed."""
    function.add_adapter("1.0.0-rc1")
    with emulator(function, "/opt/snapext/bootstrap") as platform:
        platform.invoke(apigw.http_event("GET", "/"))
        os.kill(_emulators_pid(function), signal.SIGTERM)
        wait_until(lambda: "Handling termination for extension-snapext" in platform.log, 10)
    assert at(platform.log, '"event":"shutdown"') < at(platform.log, "Handling termination for extension-snapext")
    assert not re.search(r"Sending SIGKILL to extension-snapext", platform.log)


def test_a_bad_setting_is_what_the_emulator_reports(function: Function) -> None:
    """The extension's own init/error, with its type."""
    function.add_adapter("1.0.0-rc1")
    with emulator(function, "/opt/snapext/bootstrap", SNAPEXT_WORKERS="four") as platform:
        platform.invoke(apigw.http_event("GET", "/"))
    assert "/2020-01-01/extension/init/error" in platform.log
    assert "SNAPEXT_WORKERS='four' is not accepted" in platform.log
    assert "INIT RTDONE(status: success)" not in platform.log


def test_a_crash_of_the_extension_is_what_the_emulator_reports(function: Function) -> None:
    """Extension.Crash, as our local Lambda says it too."""
    function.add_adapter("1.0.0-rc1")
    killer = function.root / "kill.sh"
    killer.write_text("#!/bin/sh\npkill -9 -f snapext_extension\nsleep 30\n")
    killer.chmod(0o755)
    with emulator(function, str(killer)) as platform:
        response = platform.invoke({})
    assert "Extension.Crash" in response.text + platform.log


def _emulators_pid(function: Function) -> int:
    """The emulator itself, seen from outside of its namespaces."""
    done = subprocess.run(["pgrep", "-f", f"^{tool(RIE)}"], capture_output=True, text=True, check=True)
    for pid in map(int, done.stdout.split()):
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        if str(function.root).encode() in environ:
            return pid
    raise AssertionError("the emulator does not run")


# --- our local Lambda, call by call ---------------------------------------------------------------------------------


def _probe_files(folder: Path) -> dict[str, Any]:
    for role in ("runtime", "extension", "extension-shutdown"):
        wait_until((folder / role).exists, 20)
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir()}


def _ask_emulator(function: Function, folder: Path) -> dict[str, Any]:
    for path in (function.opt / "extensions").iterdir():
        path.unlink()
    launcher = function.opt / "extensions" / "probe"
    launcher.write_text(f"#!/bin/sh\nexec {sys.executable} {HERE / 'probe.py'} extension\n")
    launcher.chmod(0o755)
    with emulator(function, sys.executable, str(HERE / "probe.py"), "runtime", PROBE_FOLDER=str(folder)) as platform:
        platform.invoke({})
        wait_until(lambda: (folder / "runtime").exists() and (folder / "extension").exists(), 20)
        os.kill(_emulators_pid(function), signal.SIGTERM)
        return _probe_files(folder)


def _ask_ours(folder: Path) -> dict[str, Any]:
    with Platform(init_type=InitType.ON_DEMAND, extension_names=["probe"]) as platform:
        env = {**os.environ, "AWS_LAMBDA_RUNTIME_API": platform.address, "PROBE_FOLDER": str(folder)}
        processes = []
        try:
            processes.append(subprocess.Popen([sys.executable, str(HERE / "probe.py"), "extension"], env=env))
            platform.wait_registered(20)
            processes.append(subprocess.Popen([sys.executable, str(HERE / "probe.py"), "runtime"], env=env))
            platform.runtime_started()
            platform.wait_init_end(20)
            platform.invoke(b"{}", 20)
            wait_until((folder / "extension").exists, 20)
            platform.shutdown()
            return _probe_files(folder)
        finally:
            for process in processes:
                process.kill()
                process.wait()


def test_our_local_lambda_answers_every_call_as_awss_emulator_does(function: Function, tmp_path: Path) -> None:
    """Status, error type, the body's keys and the headers of each call; whatever differs is a fault of ours."""
    theirs_folder, ours_folder = tmp_path / "theirs", tmp_path / "ours"
    theirs_folder.mkdir()
    ours_folder.mkdir()
    theirs, ours = _ask_emulator(function, theirs_folder), _ask_ours(ours_folder)
    for role, expected in theirs.items():
        for our_answer, their_answer in zip(ours[role], expected, strict=True):
            # Lambda names the trace to the runtime; the emulator does not (docs/emulator.md).
            our_answer["headers"] = [name for name in our_answer["headers"] if name != "lambda-runtime-trace-id"]
            assert our_answer == their_answer
