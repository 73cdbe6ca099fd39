"""The life of one environment with the real extension: init, snapshot, freeze, restore, invocations, shutdown."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import struct
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from snapext.clock.simulated import ENV as SIMULATED_CLOCK
from snapext.wire.place import start_command_path
from snapext_extension.kernel import processes
from snapext_extension.observing import DEFAULT_PORT, READINESS_PORT, is_off, observes
from snapext_tools.simulator import apigw, extension_log
from snapext_tools.simulator.credentials import Credentials, developers_credentials
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.folder import (
    EXTENSION,
    NO_ADAPTER,
    Layout,
    extension_environment,
    lay_out,
    runtime_environment,
)
from snapext_tools.simulator.listeners import stranger_on
from snapext_tools.simulator.notices import ERROR_CALLS
from snapext_tools.simulator.plan import WITHOUT_SNAPEXT, Event, Plan, Request
from snapext_tools.simulator.platform import Failure, InitType, Platform, PlatformEvent, PlatformFailure
from snapext_tools.simulator.recorder import Happening, Recorder, Trouble, seen_by_users
from snapext_tools.simulator.sandbox import Sandbox
from snapext_tools.simulator.verdict import judge

RESTORE_BUDGET_MS = 10_000
SNAPSHOT_AGE_S = 60.0  # by the wall clock of a clone, which Lambda sets
SHUTDOWN_MS = 2_000
LAST_WORDS_MS = 1_000
RUNTIME_SHARE = 0.3  # the runtime's share of the shutdown time; processes that outlive it are killed at the end
RUNTIME = "runtime"
STRANGER = "Sandbox.Stranger"
HASTY_END = (
    "{error_type} {after_ms:.0f} ms after restore/error: in about 2 of 100 such lives Lambda reports it instead of the "
    "hook's error"
)


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
        self._hear_app = hear_app
        self._mode: str | None = None
        self._doing = "the extensions are started"
        self._restored_ticks: int | None = None
        self._ending = False
        self._started_s = time.monotonic()
        self._now_ms: Callable[[], float] = lambda: (time.monotonic() - self._started_s) * 1000
        self._deadline = time.monotonic() + plan.timeout_s
        self.recorder = Recorder(tell)

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
                on_event=self._on_platform_event,
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
                    self._end_everything()
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
        self._mode = _mode(env, extensions_folder) if self._plan.with_snapext else WITHOUT_SNAPEXT
        ours = self._plan.installed_layer is None and self._plan.with_snapext
        self._runtime_env = runtime_environment(env, self._environ, autostart=ours)
        self._set_clock(0.0)
        log = self._sandbox.output(self._on_extension_line)
        app = self._sandbox.output(lambda line: self._hear_app("app", line))
        adapter = self._sandbox.output(lambda line: self._hear_app("adapter", line))
        try:
            for name in sorted(os.listdir(extensions_folder)):
                path = os.path.join(extensions_folder, name)
                stdout = log if name == EXTENSION else adapter
                self._start("extension", name, [path], env, stdout=stdout, stderr=adapter)
            self._platform.wait_registered(self._left_s())
            self._doing = "init"  # before the app begins, which may be far on when we have the processor again
            self._platform.runtime_started()
            self._start(RUNTIME, RUNTIME, list(self._plan.command), self._runtime_env, stdout=app, stderr=app)
            self._leave_start_command()
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

    def _set_clock(self, ahead_s: float) -> None:
        """Set the wall clock of this life, as Lambda does in a clone; the file is mapped by those that read it."""
        if path := self._runtime_env[SIMULATED_CLOCK]:
            with open(path, "r+b" if os.path.exists(path) else "wb") as file:
                file.write(struct.pack("d", ahead_s))

    def _leave_start_command(self) -> None:
        """Record which process is the start command, as the layer's wrapper does; it does not run here."""
        if self._plan.installed_layer is None and self._plan.with_snapext:
            path = start_command_path(self._runtime_env["SNAPEXT_SOCKET"])
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{self._sandbox.pid(RUNTIME)}/stat") as stat:
                pathlib.Path(path).write_text(stat.read())

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
        for request in self._plan.requests:
            self._doing = str(request)
            self._invoke(request)
        self._doing = "the shutdown"
        in_time, duration_ms = self._shut_down("spindown")
        self._add("shutdown", ok=in_time, duration_ms=duration_ms)

    def _refuse_stranger(self) -> None:
        """Fail if what has answered as the app is another program of this machine: requests would go there, too."""
        if self._plan.adapter == NO_ADAPTER:
            return
        port = self._plan.port
        if who := stranger_on(port, [process.pid for process in self._sandbox.processes()]):
            what = f"port {port} is answered by a process that is not the function's: {who}"
            message = f"{what}; end it, or change the app's port"
            raise PlatformFailure(Failure("init", STRANGER, message, {}))

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
        self._set_clock(SNAPSHOT_AGE_S)
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

    def _invoke(self, request: Request | Event) -> None:
        result = self._platform.invoke(request.payload, self._left_s())
        if not result.ok:
            message = result.body.decode("utf-8", "replace")
            self._add_invoke_trouble(request, result.error_type or "Unknown", message)
            return
        if isinstance(request, Event):
            body = result.body.decode("utf-8", "replace")
            self._add("invoke", name=request.name, ok=True, duration_ms=round(result.duration_ms, 3), body=body)
            return
        try:
            response = apigw.parse_response(result.body)
        except SimulationError as error:
            self._add_invoke_trouble(request, "Runtime.BadAnswer", str(error))
            return
        body = response.body.decode("utf-8", "replace")
        duration_ms = round(result.duration_ms, 3)
        fields = {"method": request.method, "path": request.path, "status": response.status}
        self._add("invoke", **fields, ok=response.status < 500, duration_ms=duration_ms, body=body)
        if response.status >= 500:
            self._add_invoke_trouble(request, f"HTTP {response.status}", body[:500])

    def _shut_down(self, reason: str) -> tuple[bool, float]:
        """End the runtime's process group, then the extensions, as AWS's emulator does; also after a failure.

        Returns whether the extension ended by itself, and how long the shutdown took, in ms.
        """
        self._ending = True
        started = time.monotonic()
        if RUNTIME in self._sandbox:
            self._sandbox.terminate(RUNTIME)
            self._sandbox.wait_exit(RUNTIME, RUNTIME_SHARE * SHUTDOWN_MS / 1000)
        left_ms = SHUTDOWN_MS - (time.monotonic() - started) * 1000
        self._platform.shutdown(reason, int(left_ms))
        in_time = EXTENSION not in self._sandbox or self._sandbox.wait_exit(EXTENSION, left_ms / 1000)
        duration_ms = round((time.monotonic() - started) * 1000, 3)
        self._sandbox.drain()
        return in_time, duration_ms

    def _fail(self, failure: Failure) -> None:
        """Reset the environment as the platform does after a failure: waiting extensions get SHUTDOWN and have 2 s."""
        at_ms = self._now_ms()
        if failure.error_type == "Sandbox.Timeout":
            said = self.recorder.last_message("waiting")  # the extension knows more than the platform
            message = f"gave up after {self._plan.timeout_s:g} s (--timeout): {said or failure.message}"
            failure = replace(failure, message=message)
        if self._plan.adapter == NO_ADAPTER and RUNTIME in self._sandbox:
            # The runtime may still report the failure itself. How soon the real reset comes is not documented.
            self._ending = True
            self._sandbox.wait_exit(RUNTIME, LAST_WORDS_MS / 1000)
        in_time, _ = self._shut_down("failure")
        if not in_time and self._platform.is_to_end(EXTENSION):
            message = "the extension did not end in time, and was killed"
            self._add("warning", about="killed", message=message)
        self._add_failure(at_ms, failure)

    def _end_everything(self) -> None:
        self._ending = True
        try:
            self._sandbox.kill_all()
        except BaseException:  # interrupted in the middle, which can happen once (cli/fail.py)
            self._sandbox.kill_all()
            raise
        finally:
            self._sandbox.close()

    # --- what is heard ---------------------------------------------------------------------------------------------

    def _on_platform_event(self, event: PlatformEvent) -> None:
        if event.name == "runtime_started":
            self.recorder.add(event.at_ms, event.name)
        elif event.name == "extension_registered":
            self.recorder.add(event.at_ms, event.name, name=event.detail["name"])
        elif event.name in ERROR_CALLS:
            self.recorder.add(event.at_ms, event.name, error_type=event.detail["error_type"])
        elif event.name == "hasty_end" and event.detail["name"] == EXTENSION:
            message = HASTY_END.format(**event.detail)
            self.recorder.add(event.at_ms, "warning", about="hasty_end", message=message)
        elif event.name == "dropped":
            message = f"{event.detail['call']} got no answer: {event.detail['message']}"
            self.recorder.add(event.at_ms, "warning", about="dropped", message=message)

    def _on_exit(self, role: str, name: str, returncode: int) -> None:
        if not self._ending:
            self._platform.process_exited(role, name, returncode)

    def _on_extension_line(self, line: str) -> None:
        try:
            record = json.loads(line)
            self._on_record(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._hear_app("snapext", line)  # not a record of the extension's log, but a person should see it

    def _on_record(self, record: dict[str, Any]) -> None:
        at_ms = max(0.0, self._platform.now_ms() - (time.time() - record["time"]) * 1000)
        extension_log.hear(self.recorder, at_ms, record)
        if record["event"] in ("process_joined", "process_signalled") and (stat := processes.stat(record["pid"])):
            now_ms = self._now_ms()
            ago_s = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_ticks / os.sysconf("SC_CLK_TCK")
            self.recorder.started(record["pid"], now_ms - ago_s * 1000)

    # --- small things ----------------------------------------------------------------------------------------------

    def _add(self, event: str, **fields: Any) -> None:
        self.recorder.add(self._now_ms(), event, **fields)

    def _add_failure(self, at_ms: float, failure: Failure) -> None:
        """Add a failure that the platform saw, unless the extension reported one: its report says more."""
        if self.recorder.ok:
            seen = seen_by_users(failure.phase, failure.error_type)
            if failure.error_type in ("Sandbox.Timeout", STRANGER):
                seen = ""  # only the simulator stops here: Lambda would continue
            if failure.stored is not None:
                failure = replace(failure, message=f"{failure.message} ({failure.stored})")
            trace = failure.body.get("stackTrace")
            stack = "\n".join(map(str, trace)) if isinstance(trace, list) else ""
            what = (failure.phase, None, None, failure.error_type, failure.message, stack, seen)
            self.recorder.trouble(Trouble(*what, at_ms))

    def _add_invoke_trouble(self, request: Request | Event, kind: str, message: str) -> None:
        text = f"{request}: {message}"
        seen = "the caller got this answer"
        self.recorder.trouble(Trouble("invoke", None, None, kind, text, "", seen, self._now_ms()))

    def _add_interruption(self, stop: BaseException, missing: list[str]) -> None:
        """Report an interruption: what was going on, and what it was waiting for."""
        code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 128 + signal.SIGINT
        name = signal.Signals(code - 128).name if code - 128 in set(signal.Signals) else f"status {code}"
        message = f"interrupted by {name} after {time.monotonic() - self._started_s:.1f} s, in {self._doing}"
        text = f"{message}: {'; '.join(missing)}" if missing else message
        self.recorder.trouble(Trouble(self._phase(), None, None, "Interrupted", text, "", at_ms=self._now_ms()))

    def _phase(self) -> str:
        return {"init": "init", "the restore": "restore", "the shutdown": "shutdown"}.get(self._doing, "interrupted")

    def _left_s(self) -> float:
        return max(0.1, self._deadline - time.monotonic())


def _mode(env: Mapping[str, str], extensions_folder: str) -> str:
    if is_off(env):
        return "off"
    if env.get(READINESS_PORT) == env.get("SNAPEXT_PORT", DEFAULT_PORT):
        return "gate"
    return "observe" if observes(env, extensions_folder) else env.get("SNAPEXT_MODE", "auto")


__all__ = ["Event", "Plan", "Request", "Simulation"]
