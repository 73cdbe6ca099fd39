"""The simulated platform over HTTP, as its driver sees it.

All decisions are made by `Environment`; `SharedEnvironment` lets threads share it and `PlatformServer` serves it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from typing import Self

from snapext_tools.simulator.credentials import Credentials
from snapext_tools.simulator.environment import Environment
from snapext_tools.simulator.errors import SimulationError
from snapext_tools.simulator.outcomes import Failure, InvocationResult, PlatformEvent
from snapext_tools.simulator.platform_server import PlatformServer
from snapext_tools.simulator.shared_environment import PlatformFailure, SharedEnvironment
from snapext_tools.simulator.states import InitType

__all__ = ["Failure", "InitType", "InvocationResult", "Platform", "PlatformEvent", "PlatformFailure"]


class Platform:
    """One simulated execution environment behind a real HTTP server; a context manager, for one use.

    Waiting methods raise PlatformFailure as soon as the environment has failed, or when their time has passed. A
    driver that acts out of order (a restore before init has ended) gets a SimulationError.
    """

    def __init__(
        self,
        *,
        init_type: InitType,
        extension_names: Sequence[str],
        restore_timeout_ms: int = 10_000,
        function_name: str = "local",
        credentials: Credentials | None = None,
        on_event: Callable[[PlatformEvent], None] | None = None,
    ) -> None:
        environment = Environment(
            init_type=init_type,
            extension_names=extension_names,
            new_id=lambda: str(uuid.uuid4()),
            unix_origin_ms=time.time() * 1000,
            restore_timeout_ms=restore_timeout_ms,
            function_name=function_name,
        )
        self._environment = SharedEnvironment(environment, on_event)
        self._server = PlatformServer(self._environment, credentials)
        self.credentials = credentials
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._server.start()
        self._environment.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()
        self._server.stop()
        self._environment.join()

    def now_ms(self) -> float:
        """The clock of `PlatformEvent.at_ms`: ms since this object was made."""
        return self._environment.now_ms()

    @property
    def failure(self) -> Failure | None:
        """The first failure of the environment, if it has failed."""
        return self._environment.look(lambda environment: environment.failure)

    @property
    def events(self) -> tuple[PlatformEvent, ...]:
        """Everything that has happened so far, in order."""
        return self._environment.look(lambda environment: tuple(environment.records))

    @property
    def wants_restore(self) -> bool:
        """True once the runtime asked for restore/next."""
        return self._environment.look(lambda environment: environment.wants_restore)

    def missing(self) -> list[str]:
        """What the environment waits for now, in words; empty when it waits for nothing."""
        return self._environment.look(Environment.missing)

    def is_to_end(self, name: str) -> bool:
        """Whether an extension can know of a shutdown."""
        return self._environment.look(lambda environment: environment.is_to_end(name))

    def wait_registered(self, timeout_s: float) -> None:
        """Wait until every external extension has registered: only then may the runtime be started."""
        missing = Environment.missing_for_registration
        self._environment.wait("init", "not every extension has registered", missing, timeout_s)

    def runtime_started(self) -> None:
        """Note that the runtime's process is running now."""
        self._environment.act(Environment.runtime_started)

    def wait_init_end(self, timeout_s: float) -> None:
        """Wait until the runtime has asked for its next step and every registered extension for an event."""
        self._environment.wait("init", "init has not finished", Environment.missing_for_init, timeout_s)

    def restore(self) -> None:
        """Restore the environment: release restore/next, if anyone asked for it, and start the restore deadline."""
        self._environment.act(Environment.restore)

    def wait_ready(self, timeout_s: float) -> float:
        """Wait until the runtime is ready for invocations; returns ms since restore(), 0 when there was none."""
        self._environment.wait("restore", "the environment is not ready", Environment.missing_for_ready, timeout_s)
        ready_ms, restored_ms = self._environment.look(lambda e: (e.ready_ms, e.restored_ms))
        return 0.0 if ready_ms is None or restored_ms is None else ready_ms - restored_ms

    def invoke(self, payload: bytes, timeout_s: float) -> InvocationResult:
        """Send one event and wait until its invocation is over; one at a time. `timeout_s` is also its deadline."""
        request_id = self._environment.step(lambda e, now_ms: e.invoke(now_ms, payload, timeout_s * 1000))
        what = f"invocation {request_id} has not finished"
        self._environment.wait("invoke", what, lambda e: e.missing_for_invocation(request_id), timeout_s)
        result = self._environment.look(lambda environment: environment.result(request_id))
        if result is None:
            raise SimulationError(f"invocation {request_id} has no result")
        return result

    def shutdown(self, reason: str = "spindown", timeout_ms: int = 2000) -> None:
        """Send SHUTDOWN to the extensions that subscribed to it; does not wait for them."""
        self._environment.act(lambda environment, now_ms: environment.shutdown(now_ms, reason, timeout_ms))

    def process_exited(self, role: str, name: str, returncode: int) -> None:
        """Report that a process ended: role "runtime", or "extension" and the name of its file."""
        self._environment.act(lambda environment, now_ms: environment.process_exited(now_ms, role, name, returncode))
