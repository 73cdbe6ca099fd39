"""One environment's life, from its start to the restore and the first response, timed by the simulated platform."""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.children import Children
from bench.cpu_limit import change_limit, cpu_limit, throttled_s
from bench.kernel import demand_ms
from bench.stage import BenchError, Stage
from snapext_tools.simulator import apigw
from snapext_tools.simulator.folder import EXTENSION
from snapext_tools.simulator.platform import InitType, Platform, PlatformFailure

IDLE_S = 0.15
"""How long every process is idle between init and the restore, as in a snapshot: caches and cores are cold."""
TIMEOUT_S = 30.0
REST_MS = 5.0
"""An environment that needs less processor time in IDLE_S is at rest: servers wake up ten times a second."""
UNLIMITED_PERCENT = 100 * (os.cpu_count() or 1)
RUNTIME = "runtime"


@dataclass(frozen=True, slots=True)
class Setup:
    """The set-up of an environment. `command` is the runtime's, with the placeholders {python} and {port}.

    `cpu_percent`: the share of one CPU that the environment has after init. Init runs without a limit: under it, each
    life would take half a minute to get to the measurement.
    """

    command: tuple[str, ...]
    adapter: str | None = None
    snapext: bool = False
    workers: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    cpu_percent: int | None = None


@dataclass(frozen=True, slots=True)
class Restored:
    """Ms from the restore until the runtime asked for invocation/next, and until the first byte of its first answer."""

    restore_ms: float
    first_response_ms: float


class Life:
    """A context manager: inside, init has finished and every process waits for the restore."""

    def __init__(self, setup: Setup, stage: Stage) -> None:
        self._setup = setup
        self._stage = stage
        self.folder = stage.new_folder()
        self._limits = contextlib.ExitStack()
        self.children = Children(self.folder / "log")
        self._opt = None
        self._names: list[str] = []
        if setup.snapext or setup.adapter:
            self._opt = stage.opt(setup.adapter, with_snapext=setup.snapext)
            self._names = sorted(os.listdir(self._opt / "extensions"))
        self.platform = Platform(init_type=InitType.SNAP_START, extension_names=self._names)

    def __enter__(self) -> Self:
        if self._setup.cpu_percent is not None:
            self.children.group = self._limits.enter_context(cpu_limit(UNLIMITED_PERCENT))
        self.platform.__enter__()
        try:
            self._start()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            if isinstance(error, PlatformFailure | OSError):
                raise self._told(error) from error
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.children.kill()
        self._limits.close()
        self.platform.__exit__(kind, error, trace)
        self._stage.forget_compiled()
        gc.collect()  # here, so that it does not happen while something is timed

    def pid(self, name: str) -> int:
        """The pid of an extension, by its file's name, or of the runtime."""
        return self.children.pids[name]

    @property
    def extension_pid(self) -> int:
        return self.pid(EXTENSION)

    def throttled_ms(self) -> float:
        """How long the limit has kept the environment from running, in total."""
        return 0.0 if self.children.group is None else throttled_s(self.children.group) * 1000

    def restore(self) -> Restored:
        """Restore for an invocation that is already waiting, as Lambda does, and read its answer."""
        payload = json.dumps(apigw.http_event("GET", "/")).encode()
        restored_ms = self.platform.now_ms()
        self.platform.restore()
        invoked_ms = self.platform.now_ms()
        try:
            result = self.platform.invoke(payload, TIMEOUT_S)
            restore_ms = self.platform.wait_ready(TIMEOUT_S)
        except PlatformFailure as error:
            raise self._told(error) from error
        check(result.ok, result.body)
        return Restored(restore_ms, invoked_ms - restored_ms + result.first_byte_ms)

    def _start(self) -> None:
        env = self._environ()
        if self._opt is not None:
            for name in self._names:
                self.children.start(name, [str(self._opt / "extensions" / name)], env)
            self.platform.wait_registered(TIMEOUT_S)
        if self._setup.snapext:
            # The layer's wrapper would set this. It must be the layer's snapext, not this checkout's.
            env["PYTHONPATH"] = f"{self._opt}/python"
        names = {"python": self._stage.app_python, "port": env["PORT"]}
        command = [word.format_map(names) for word in self._setup.command]
        self.children.start(RUNTIME, command, env, cwd=self._stage.apps)
        self.platform.runtime_started()
        self.platform.wait_init_end(TIMEOUT_S)
        if self.children.group is not None and self._setup.cpu_percent is not None:
            self._wait_rest(self.children.group)
            change_limit(self.children.group, self._setup.cpu_percent)
        time.sleep(IDLE_S)  # this is the idle time itself, not a wait for something

    def _wait_rest(self, group: Path) -> None:
        """Wait until no process of the environment wants to run: without snapext, workers may still be importing."""
        deadline = time.monotonic() + TIMEOUT_S
        before_ms = -math.inf
        while True:
            now_ms = sum(demand_ms(int(pid)) for pid in group.read_text().split())
            if now_ms - before_ms < REST_MS:
                return
            if time.monotonic() > deadline:
                raise BenchError(f"{' '.join(self._setup.command)}: it is still busy after {TIMEOUT_S:g} s")
            before_ms = now_ms
            time.sleep(IDLE_S)

    def _environ(self) -> dict[str, str]:
        port, gate_port = free_ports(2)
        env = self._stage.environ(
            AWS_LAMBDA_RUNTIME_API=self.platform.address,
            AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
            AWS_LAMBDA_FUNCTION_NAME="bench",
            AWS_LAMBDA_FUNCTION_VERSION="1",
            AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1024",
            AWS_REGION="us-east-1",
            AWS_LWA_PORT=str(port),
            AWS_LWA_READINESS_CHECK_PATH="/ready",
            PORT=str(port),
            BENCH_FOLDER=str(self.folder),
        )
        if self._setup.snapext:
            env |= {
                "AWS_LWA_READINESS_CHECK_PORT": str(gate_port),
                "SNAPEXT_PORT": str(gate_port),
                "SNAPEXT_SOCKET": str(self.folder / "bridge" / "bridge.sock"),
                "SNAPEXT_WORKERS": str(self._setup.workers),
                "SNAPEXT_SETTLE_MS": "50",
            }
        return {**env, **self._setup.env}

    def _told(self, error: Exception) -> BenchError:
        return BenchError(f"{' '.join(self._setup.command)}: {error}; it wrote: {self.children.last_words()}")


def check(ok: bool, body: bytes) -> None:
    """Raise if an invocation failed: its figure would be worth nothing."""
    if not ok or apigw.parse_response(body or b"{}").status != 200:
        raise BenchError(f"the invocation failed: {body[:200].decode('utf-8', 'replace')}")


def free_ports(count: int) -> list[int]:
    """Free ports; all are held until all are known, so they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
