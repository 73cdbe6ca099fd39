"""The life of one environment with the real extension: init, snapshot, freeze, restore, invocations, shutdown."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from snapext_extension.kernel import processes
from snapext_tools.simulator import ending, failing
from snapext_tools.simulator.caller import Caller
from snapext_tools.simulator.credentials import Credentials, developers_credentials
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.folder import (
    EXTENSION,
    NO_ADAPTER,
    RUNTIME,
    Layout,
    extension_environment,
    lay_out,
    leave_start_command,
    mode_of,
    runtime_environment,
    set_clock,
)
from snapext_tools.simulator.hearing import Hearing
from snapext_tools.simulator.listeners import stranger_on
from snapext_tools.simulator.plan import WITHOUT_SNAPEXT, Event, Plan, Request
from snapext_tools.simulator.platform import Failure, InitType, Platform, PlatformFailure
from snapext_tools.simulator.recorder import Happening, Recorder, Trouble
from snapext_tools.simulator.sandbox import Sandbox
from snapext_tools.simulator.verdict import judge

RESTORE_BUDGET_MS = 10_000
SNAPSHOT_AGE_S = 60.0  # by the wall clock of a clone, which Lambda sets


class Simulation:
    """Plays a plan. `tell` gets every event as it happens, `hear_app` each line that the app or the adapter writes,
    with its writer."""

    def __init__(
        self,
        plan: Plan,
        environ: Mapping[str, str],
        *,
        tell: Callable[[Happening | Trouble], None],
        hear_app: Callable[[str, str], None],
    ) -> None:
        self._plan = plan
        self._environ = environ
        self._mode: str | None = None
        self._doing = "the extensions are started"
        self._restored_ticks: int | None = None
        self._ending = False
        self._started_s = time.monotonic()
        self._now_ms: Callable[[], float] = lambda: (time.monotonic() - self._started_s) * 1000
        self._deadline = time.monotonic() + plan.timeout_s
        self.recorder = Recorder(tell)
        self._hearing = Hearing(self.recorder, hear_app, lambda: self._now_ms())

    def run(self) -> dict[str, Any]:
        """Play the plan to its end, whatever happens, and return the document. Raises SimulationError on a bad plan.

        After an interruption (KeyboardInterrupt, SystemExit) all processes have ended, and `document()` says how far
        the life got. An interrupted life is never OK, wherever it was.
        """
        try:
            return self._play()
        except (KeyboardInterrupt, SystemExit) as stop:
            if self.recorder.ok:  # before there was a platform to ask, or when it was being closed
                self._add_interruption(stop, [])
            raise

    def _play(self) -> dict[str, Any]:
        snap_start = self._plan.init_type is InitType.SNAP_START
        credentials = developers_credentials(self._environ) if snap_start else None
        with tempfile.TemporaryDirectory(prefix="snapext-") as folder:
            layout = self._lay_out(folder)
            with Platform(
                init_type=self._plan.init_type,
                extension_names=layout.extension_names,
                restore_timeout_ms=RESTORE_BUDGET_MS,
                credentials=credentials,
                on_event=self._hearing.platform_event,
            ) as self._platform:
                self._now_ms = self._platform.now_ms
                self._sandbox = Sandbox(self._on_exit)
                try:
                    if credentials is not None and credentials.doubt:
                        self._add("warning", about="credentials", message=credentials.doubt)
                    self._start_extensions(layout.extensions_folder, folder, credentials)
                    self._live()
                except PlatformFailure as error:
                    self._fail(error.failure)
                except (KeyboardInterrupt, SystemExit) as stop:
                    self._ending = True
                    self._sandbox.drain()
                    self._add_interruption(stop, self._platform.missing())
                    raise
                finally:
                    self._ending = True
                    ending.end_everything(self._sandbox)
        hooks_can_run = snap_start and self._plan.with_snapext
        observed = self._mode == "observe"
        judge(self.recorder, snap_start=hooks_can_run, expected_hooks=self._plan.expected_hooks, observed=observed)
        return self.document()

    def document(self) -> dict[str, Any]:
        """The document of everything so far."""
        plan = self._plan
        about = {"command": list(plan.command), "init_type": str(plan.init_type), "adapter": plan.adapter}
        return self.recorder.document(mode=self._mode, **about)

    def _lay_out(self, folder: str) -> Layout:
        if self._plan.installed_layer is None:
            return lay_out(folder, self._plan.adapter, with_snapext=self._plan.with_snapext)
        extensions = os.path.join(self._plan.installed_layer, "extensions")
        return Layout(extensions, tuple(sorted(os.listdir(extensions))))

    # --- the phases ------------------------------------------------------------------------------------------------

    def _start_extensions(self, extensions_folder: str, folder: str, credentials: Credentials | None) -> None:
        env = extension_environment(self._environ, self._platform.address, folder, self._plan, credentials)
        self._mode = mode_of(env, extensions_folder) if self._plan.with_snapext else WITHOUT_SNAPEXT
        ours = self._plan.installed_layer is None and self._plan.with_snapext
        self._runtime_env = runtime_environment(env, self._environ, autostart=ours)
        set_clock(self._runtime_env, 0.0)
        log = self._sandbox.output(self._hearing.extension_line)
        app = self._sandbox.output(self._hearing.app_line)
        adapter = self._sandbox.output(self._hearing.adapter_line)
        try:
            for name in sorted(os.listdir(extensions_folder)):
                path = os.path.join(extensions_folder, name)
                stdout = log if name == EXTENSION else adapter
                self._start("extension", name, [path], env, stdout=stdout, stderr=adapter)
            self._platform.wait_registered(self._left_s())
            self._doing = "init"  # before the app begins, which may be far on when we have the processor again
            self._platform.runtime_started()
            self._start(RUNTIME, RUNTIME, list(self._plan.command), self._runtime_env, stdout=app, stderr=app)
            if ours:
                leave_start_command(self._runtime_env, self._sandbox.pid(RUNTIME))
        finally:
            for fd in (log, app, adapter):
                os.close(fd)

    def _start(
        self, role: str, name: str, command: list[str], env: Mapping[str, str], *, stdout: int, stderr: int
    ) -> None:
        try:
            self._sandbox.start(role, name, command, env, stdout=stdout, stderr=stderr)
        except OSError as error:
            raise SimulationError(f"cannot start {command[0]}: {error.strerror or error}") from error

    def _live(self) -> None:
        self._platform.wait_init_end(self._left_s())
        self._sandbox.drain()
        self._refuse_stranger()
        if self._plan.init_type is InitType.SNAP_START:
            self._snapshot_and_restore()
        else:
            self._platform.wait_ready(self._left_s())
            self._sandbox.drain()
            self._add("ready")
        caller = Caller(self._platform, self.recorder)
        for request in self._plan.requests:
            self._doing = str(request)
            caller.call(request, self._left_s())
        self._doing = "the shutdown"
        self._ending = True
        in_time, duration_ms = ending.shut_down(self._platform, self._sandbox, "spindown")
        self._add("shutdown", ok=in_time, duration_ms=duration_ms)

    def _refuse_stranger(self) -> None:
        """Fail if what has answered as the app is another program of this machine: requests would go there, too."""
        if self._plan.adapter == NO_ADAPTER:
            return
        port = self._plan.port
        if who := stranger_on(port, [process.pid for process in self._sandbox.processes()]):
            what = f"port {port} is answered by a process that is not the function's: {who}"
            message = f"{what}; end it, or change the app's port"
            raise PlatformFailure(Failure("init", failing.STRANGER, message, {}))

    def _snapshot_and_restore(self) -> None:
        self._add("snapshot", freeze_s=self._plan.freeze_s)
        if self._plan.freeze_s > 0:
            self._doing = "the time between snapshot and restore (--freeze)"
            self._sandbox.freeze()
            time.sleep(self._plan.freeze_s)  # this is the freeze, not a wait for something
            self._deadline += self._plan.freeze_s
            self._sandbox.thaw()
        restored_at_ms = self._now_ms()
        self.recorder.add(restored_at_ms, "restore")
        set_clock(self._runtime_env, SNAPSHOT_AGE_S)
        self._doing = "the restore"
        self._restored_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        self._platform.restore()
        restore_ms = self._platform.wait_ready(self._left_s())
        self._sandbox.drain()
        self.recorder.restore_ms = round(restore_ms, 3)
        # It was ready before we have heard so, and before the log of what it waited for was written.
        at_ms = max(restored_at_ms + restore_ms, self.recorder.last_ms)
        self.recorder.ready(at_ms, self._owes_nothing, duration_ms=round(restore_ms, 3))

    def _owes_nothing(self, pid: int) -> bool:
        """Whether a process has ended, or started after the restore: then no clone contains its hooks."""
        stat = processes.stat(pid)
        if stat is None or stat.state in "ZX" or self._restored_ticks is None:
            return True
        return stat.start_ticks >= self._restored_ticks

    def _fail(self, failure: Failure) -> None:
        """Reset the environment as the platform does after a failure: waiting extensions get SHUTDOWN and have 2 s."""
        at_ms = self._now_ms()
        if failure.error_type == failing.TIMEOUT:
            said = self.recorder.last_message("waiting")  # the extension knows more than the platform
            message = f"gave up after {self._plan.timeout_s:g} s (--timeout): {said or failure.message}"
            failure = replace(failure, message=message)
        self._ending = True
        if self._plan.adapter == NO_ADAPTER:
            ending.hear_last_words(self._sandbox)
        in_time, _ = ending.shut_down(self._platform, self._sandbox, "failure")
        if not in_time and self._platform.is_to_end(EXTENSION):
            message = "the extension did not end in time, and was killed"
            self._add("warning", about="killed", message=message)
        if self.recorder.ok:  # else the extension has reported it, and its report says more
            self.recorder.trouble(failing.of_platform(failure, at_ms))

    def _on_exit(self, role: str, name: str, returncode: int) -> None:
        if not self._ending:
            self._platform.process_exited(role, name, returncode)

    # --- small things ----------------------------------------------------------------------------------------------

    def _add(self, event: str, **fields: Any) -> None:
        self.recorder.add(self._now_ms(), event, **fields)

    def _add_interruption(self, stop: BaseException, missing: list[str]) -> None:
        after_s = time.monotonic() - self._started_s
        self.recorder.trouble(failing.of_interruption(stop, self._doing, after_s, missing, self._now_ms()))

    def _left_s(self) -> float:
        return max(0.1, self._deadline - time.monotonic())


__all__ = ["Event", "Plan", "Request", "Simulation"]
