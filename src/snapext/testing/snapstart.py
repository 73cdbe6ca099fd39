"""Cross the boundary in a test: the same code as in a function runs the hooks, in the test's thread and on its loop."""

from __future__ import annotations

import asyncio
import secrets
import time
import warnings
from typing import TYPE_CHECKING, NamedTuple

from snapext.errors import SnapextError
from snapext.hooks import around, loops, reseed, runner
from snapext.hooks.runner import Outcome
from snapext.link.told import Order
from snapext.testing.isolation import Isolation
from snapext.testing.stepping import drive
from snapext.wire.messages import AfterRestore, BeforeSnapshot, HookFailure

if TYPE_CHECKING:
    from snapext.hooks.runner import Phase

TIMEOUT_MS = 10_000
"""What the platform gives a function after its restore."""


class Boundary(NamedTuple):
    """The hooks that have run, as `module.qualified_name`, in the order in which they ran."""

    before_snapshot: tuple[str, ...]
    after_restore: tuple[str, ...]


class HookFailedError(SnapextError):
    """A hook failed, as it would have failed the version or the restore. `__cause__` is what it raised, if it did.

    hook: its name, `module.qualified_name`. phase: `before_snapshot` or `after_restore`.
    """

    def __init__(self, phase: str, failure: HookFailure) -> None:
        self.phase = phase
        self.hook = failure.hook
        what = failure.message if failure.type == runner.RUNS_NOTHING else f"{failure.type}: {failure.message}"
        after = "" if failure.duration_ms is None else f" after {failure.duration_ms:.0f} ms"
        super().__init__(f"the {phase} hook {failure.hook} failed{after}: {what}")


class SnapStart:
    """An environment in a test. As a context manager it undoes what the test registers with snapext.

    Inside, `snapext.status()` and `is_restored()` say what they would say in a function: not restored until
    `after_restore` has run. Plain hooks run in the calling thread. Async hooks run on the loop that the app has bound,
    if it runs; else on the test's own (`arun`) or a private one (`run`). `timeout_ms` is the time of each phase: when
    it is over, an async hook is cancelled; a plain one cannot be stopped, and fails when it has ended.
    """

    def __init__(self) -> None:
        self._isolation = Isolation()

    def __enter__(self) -> SnapStart:
        self._isolation.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._isolation.end()

    def run(self, timeout_ms: int = TIMEOUT_MS) -> Boundary:
        """Run all hooks: those before the snapshot, the last first, then those after the restore, in order.

        Raises HookFailedError with what the hook raised; RuntimeError where a loop runs in this thread (use `arun`).
        """
        __tracebackhide__ = True
        return Boundary(self.before_snapshot(timeout_ms), self.after_restore(timeout_ms))

    async def arun(self, timeout_ms: int = TIMEOUT_MS) -> Boundary:
        """The same in an async test, on its loop. asyncio's alone: with another (Trio's) it raises RuntimeError."""
        __tracebackhide__ = True
        return Boundary(await self.abefore_snapshot(timeout_ms), await self.aafter_restore(timeout_ms))

    def before_snapshot(self, timeout_ms: int = TIMEOUT_MS) -> tuple[str, ...]:
        """Run the before-snapshot hooks alone. Returns the names of those that ran. Raises as `run` does."""
        __tracebackhide__ = True
        return self._run(_before_snapshot(timeout_ms))

    def after_restore(self, timeout_ms: int = TIMEOUT_MS) -> tuple[str, ...]:
        """Run the after-restore hooks alone; the generators are renewed first. Once more, it is another clone.

        Returns the names of those that ran. Raises as `run` does.
        """
        __tracebackhide__ = True
        return self._run(_after_restore(timeout_ms))

    async def abefore_snapshot(self, timeout_ms: int = TIMEOUT_MS) -> tuple[str, ...]:
        """`before_snapshot` in an async test."""
        __tracebackhide__ = True
        return await self._arun(_before_snapshot(timeout_ms))

    async def aafter_restore(self, timeout_ms: int = TIMEOUT_MS) -> tuple[str, ...]:
        """`after_restore` in an async test."""
        __tracebackhide__ = True
        return await self._arun(_after_restore(timeout_ms))

    def reseed(self) -> None:
        """Renew the generators alone, as before the first after-restore hook. Raises RuntimeError as snapext.reseed."""
        reseed.reseed(secrets.token_hex(16))

    def _run(self, order: Order) -> tuple[str, ...]:
        __tracebackhide__ = True
        if loops.running_loop() is not None:
            raise RuntimeError("a loop runs in this thread, and async hooks belong to it: `await` arun() and the like")
        return self._ends(order, runner.run(self._begins(order)))

    async def _arun(self, order: Order) -> tuple[str, ...]:
        __tracebackhide__ = True
        if asyncio._get_running_loop() is None:
            raise RuntimeError("no asyncio loop runs here: snapext runs async hooks on asyncio's, not on another's")
        return self._ends(order, await drive(self._begins(order)))

    def _begins(self, order: Order) -> Phase:
        view = self._isolation.view
        if isinstance(order, BeforeSnapshot):
            view.generation = 0
        view.phase_begins(order)
        if isinstance(order, BeforeSnapshot):
            return around.before_snapshot(order.timeout_ms, _nothing)
        return around.after_restore(order.environment_id, order.timeout_ms, _nothing)

    def _ends(self, order: Order, outcome: Outcome) -> tuple[str, ...]:
        __tracebackhide__ = True
        if outcome.error is None or isinstance(outcome.raised, TimeoutError):  # of a hook that had no time left
            late = _late(outcome, order.timeout_ms)
            if late is not None:
                outcome.error, outcome.raised = late, None
        view, ok = self._isolation.view, outcome.error is None
        view.phase_ends(order.type, order.generation, ok=ok, answer=lambda: None)
        if outcome.error is not None:
            raised, outcome.raised = outcome.raised, None
            if raised is None:
                raise HookFailedError(order.type, outcome.error)
            raised.__traceback__ = runner.from_the_hook_on(raised.__traceback__)
            if not isinstance(raised, Exception | SystemExit | asyncio.CancelledError):
                raise raised  # Ctrl-C, and what pytest.skip() and the like raise
            raise HookFailedError(order.type, outcome.error) from raised
        if not self._isolation.has_hooks():
            warnings.warn("no hook is registered: import the app's module before the test crosses", stacklevel=4)
        return tuple(timing.name for timing in outcome.hooks)


def run_boundary(timeout_ms: int = TIMEOUT_MS) -> Boundary:
    """Cross the boundary once: `SnapStart().run()`, undone when it returns, so that is_restored() is as before."""
    __tracebackhide__ = True
    with SnapStart() as snapstart:
        return snapstart.run(timeout_ms)


async def arun_boundary(timeout_ms: int = TIMEOUT_MS) -> Boundary:
    """`run_boundary` in an async test, on its loop."""
    __tracebackhide__ = True
    with SnapStart() as snapstart:
        return await snapstart.arun(timeout_ms)


def _before_snapshot(timeout_ms: int) -> BeforeSnapshot:
    return BeforeSnapshot(id=1, generation=0, timeout_ms=timeout_ms)


def _after_restore(timeout_ms: int) -> AfterRestore:
    return AfterRestore(
        id=2,
        generation=1,
        timeout_ms=timeout_ms,
        environment_id=secrets.token_hex(16),
        restored_at=time.time(),
        restored_monotonic=time.monotonic(),
    )


def _late(outcome: Outcome, timeout_ms: int) -> HookFailure | None:
    """The first hook that has run to its end, but not in time: the extension would have failed the phase by then."""
    used_ms = 0.0
    for hook in outcome.hooks:
        used_ms += hook.duration_ms
        if used_ms > timeout_ms:
            message = f"it ended when the {timeout_ms} ms of the phase were used up"
            return HookFailure("TimeoutError", message, "", hook.name, hook.duration_ms)
    return None


def _nothing(_hook: str) -> None:
    pass
