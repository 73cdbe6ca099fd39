"""One execution environment of Lambda as a pure state machine: calls and driver actions in, replies and records out.

No I/O, no threads, no clock: each method takes `now_ms`, milliseconds of one monotonic clock, and first applies what is
due. A call returns a `Reply`, or `Blocked` when the platform would hold it open: the caller then checks `reply_to()`
after each later change. The tables of states are in `states`.
"""

from __future__ import annotations

from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.extension_calls import ExtensionCalls
from snapext_tools.simulator.invocation import Invocation
from snapext_tools.simulator.outcomes import InvocationResult
from snapext_tools.simulator.replies import Blocked, Reply
from snapext_tools.simulator.runtime_calls import RuntimeCalls
from snapext_tools.simulator.states import (
    FATAL_REPORTS,
    ExtensionCall,
    ExtensionState,
    FatalError,
    InitType,
    RuntimeCall,
    runtime_after,
)


class Environment(ExtensionCalls, RuntimeCalls):
    """The platform's side of one environment: the calls of its processes, and here the acts and views of the driver.

    A driver's mistake raises SimulationError.
    """

    def runtime_started(self, now_ms: float) -> None:
        """The driver started the runtime; the platform does so once every external extension has registered."""
        self.tick(now_ms)
        if missing := self.missing_for_registration():
            raise SimulationError(f"the runtime may not start yet: {'; '.join(missing)}")
        self._record("runtime_started")

    def restore(self, now_ms: float) -> None:
        """Restore from the snapshot: release restore/next, if anyone asked for it, and start the deadline."""
        self.tick(now_ms)
        if self.init_type is not InitType.SNAP_START:
            raise SimulationError(f"there is nothing to restore: the initialization type is {self.init_type}")
        if not self.init_ended:
            raise SimulationError("init has not finished: there is no snapshot")
        if self.restored_ms is not None:
            raise SimulationError("restored already")
        self.restored_ms = now_ms
        self._record("restore", asked_for=self.wants_restore)
        after = runtime_after(self.runtime, RuntimeCall.RESTORED)
        if after is None:  # it asked for invocation/next instead: no restore phase, its next event is an invocation
            self._runtime_is_ready()
            return
        self.runtime = after
        self.deadline_ms = now_ms + self._restore_timeout_ms
        self._held.popleft().reply = Reply(200)

    def invoke(self, now_ms: float, payload: bytes, timeout_ms: float) -> str:
        """Begin an invocation and return its request id; `timeout_ms` only sets the deadline that callers see."""
        self.tick(now_ms)
        is_snap_start = self.init_type is InitType.SNAP_START
        if self._is_shutting_down:
            raise SimulationError("the environment is shutting down")
        if not self.init_ended:
            raise SimulationError("init has not finished")
        if is_snap_start and self.restored_ms is None:
            raise SimulationError("the environment has not been restored")
        if self._invocation is not None:
            raise SimulationError(f"invocation {self._invocation.request_id} is still running")
        arn = f"arn:aws:lambda:us-east-1:123456789012:function:{self._function_name}"
        arn += f":{self._version}" if is_snap_start else ""
        request_id, trace_id, deadline_ms = self._new_id(), self._new_id(), self._unix_ms(now_ms + timeout_ms)
        self._invocation = Invocation.asked(now_ms, request_id, trace_id, arn, payload, deadline_ms)
        self._hand_out()
        return request_id

    def shutdown(self, now_ms: float, reason: str, timeout_ms: float) -> None:
        """Send SHUTDOWN to the external extensions that subscribed to it. From now on nothing is a failure."""
        self.tick(now_ms)
        if self._is_shutting_down:
            return
        self._is_shutting_down, self.deadline_ms = True, None
        self._record("shutdown", reason=reason, timeout_ms=timeout_ms)
        deadline_ms = self._unix_ms(now_ms + timeout_ms)
        self._send("SHUTDOWN", {"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": deadline_ms})

    def process_exited(self, now_ms: float, role: str, name: str, returncode: int) -> None:
        """A process ended: `role` is "runtime", or "extension" with the extension's file name."""
        self.tick(now_ms)
        if role == "runtime":
            self._record("runtime_exit", name=name, returncode=returncode)
            self._store(FatalError.RUNTIME_EXIT, f"the runtime exited with status {returncode}")
            if not self._is_shutting_down:
                self._record_haste(name, FatalError.RUNTIME_EXIT)
            self._fail_by_exit()
            return
        extension = self._extensions.get(name) if role == "extension" else None
        if extension is None or not extension.external:
            raise SimulationError(f"no such process: {role} {name}")
        # An extension that reported an error is expected to exit; the exit still ends the phase.
        before, is_expected = extension.state, extension.is_over or self._is_shutting_down
        extension.move(ExtensionCall.EXITED)
        self._record("extension_exit" if is_expected else "extension_crash", name=name, returncode=returncode)
        if not is_expected:
            message = f"extension {name} exited with status {returncode} in state {before}, without reporting an error"
            self._store(FATAL_REPORTS[ExtensionCall.EXITED], message)
            self._record_haste(name, FATAL_REPORTS[ExtensionCall.EXITED])
        self._fail_by_exit()

    def reply_to(self, call: Blocked) -> Reply | None:
        """The answer to a call that was held open; None while it still is."""
        return call.reply

    def result(self, request_id: str) -> InvocationResult | None:
        """The result of an invocation, once it is over."""
        return self._results.get(request_id)

    def is_to_end(self, name: str) -> bool:
        """Whether an extension can know of a shutdown: one that never asked for an event cannot."""
        extension = self._extensions.get(name)
        return extension is not None and (extension.is_over or extension.state is ExtensionState.RUNNING)

    def missing(self) -> list[str]:
        """What the environment waits for now, in words; empty when it is idle."""
        words = self.missing_for_registration() or self.missing_for_ready()
        return words or ([] if self._invocation is None else self.missing_for_invocation(self._invocation.request_id))

    def missing_for_ready(self) -> list[str]:
        """What keeps the runtime from being ready for invocations, in words; empty when it is ready."""
        if self.ready_ms is not None:
            return []
        if not self.init_ended:
            return self.missing_for_init()
        if self.restored_ms is None:
            return ["nothing has been restored from the snapshot"]
        return ["the runtime has not asked for invocation/next since the restore"]
