"""AWS's own emulator with a function's /opt, and what its log says."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import requests
from installed import Function, tool

from helpers import free_port, wait_until

RIE = "rie-1.170.0"
# It then has restore/next, and its log says snap-start; the caller must set the variable.
CACHING = "--enable-init-caching"
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Emulator:
    """A running emulator: its log, and the door for invocations."""

    def __init__(self, function: Function, log: Path, port: int) -> None:
        self._function = function
        self._log = log
        self._url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        self._begun: list[threading.Thread] = []

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def invoke(self, event: Any) -> requests.Response:
        # With a trace id, as every invocation has on Lambda: the emulator makes none of its own.
        headers = {"X-Amzn-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0"}
        return requests.post(self._url, data=json.dumps(event), headers=headers, timeout=60)

    def begin(self, event: Any) -> None:
        """Invoke, and go on: an invocation that releases a restore is never answered, and ends with the emulator."""

        def invoke() -> None:
            with suppress(requests.RequestException):
                self.invoke(event)

        thread = threading.Thread(target=invoke, daemon=True)
        thread.start()
        self._begun.append(thread)

    def await_log(self, pattern: str, timeout_s: float = 40) -> None:
        """Wait until something stands in the log; fail with the log when it does not come."""
        try:
            wait_until(lambda: re.search(pattern, self.log), timeout_s)
        except AssertionError:
            raise AssertionError(f"{pattern} is not in the log after {timeout_s} s:\n{self.log[-6000:]}") from None

    def terminate(self) -> None:
        """Ask the emulator to end, which sends SHUTDOWN to the extensions."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                is_emulator = process.cmdline()[:1] == [str(tool(RIE))]
                if is_emulator and process.environ().get("TRACE_FILE") == str(self._function.root / "trace"):
                    process.terminate()
                    return
        raise AssertionError("the emulator does not run")

    def join(self) -> None:
        for thread in self._begun:
            thread.join(10)
            assert not thread.is_alive(), "an invocation outlives the emulator"


@contextmanager
def emulator(function: Function, *command: str, **env: str) -> Iterator[Emulator]:
    """AWS's emulator with the function's /opt; ended with everything that it started."""
    api, door = free_port(), free_port()
    words = [
        *(str(tool(RIE)), "--log-level", "debug", "--runtime-api-address", f"127.0.0.1:{api}"),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{door}", *command),
    ]
    log = function.root / "emulator.log"
    environ = function.environ(SNAPEXT_LOG_LEVEL="debug", **env)
    environ["SNAPEXT_SOCKET"] = str(function.root / "bridge" / "bridge.sock")
    environ["SNAPEXT_PORT"] = str(free_port())
    if env.get("SNAPEXT_MODE") != "explicit":
        environ["AWS_LWA_READINESS_CHECK_PORT"] = environ["SNAPEXT_PORT"]
    # A pid namespace: when its first process ends, the kernel ends whatever the emulator has started.
    namespace = function.in_namespace(*words, options=("--pid", "--fork", "--mount-proc", "--kill-child"))
    with log.open("w") as output:
        process = subprocess.Popen(namespace, env=environ, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    running = Emulator(function, log, door)
    try:
        running.await_log("Runtime API Server listening", 20)
        wait_until(lambda: is_open(door), 20)  # it opens a moment later
        yield running
    finally:
        process.kill()
        process.wait(10)
        running.join()


def at(log: str, pattern: str) -> int:
    """Where in the log something first stands."""
    found = re.search(pattern, log)
    assert found, f"{pattern} is not in the log:\n{log[-6000:]}"
    return found.start()
