"""The after-restore hooks of this process, run once for all requests that wait: by the extension, or by ourselves."""

from __future__ import annotations

import os
import time

from snapext.errors import ControlError
from snapext.guest import notice
from snapext.guest.primitives import Changes, monotonic, start_new_thread
from snapext.hooks import registry
from snapext.hooks.runner import Outcome, describe
from snapext.link import linking, main_thread
from snapext.wire.ask import ask
from snapext.wire.messages import AfterRestore, BeforeSnapshot, HookFailure
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snapext.link.link import Link

# As the extension has them in its config, of which the client imports nothing.
BUDGETS_MS = {
    BEFORE_SNAPSHOT: ("SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS", 60_000),
    AFTER_RESTORE: ("SNAPEXT_AFTER_RESTORE_TIMEOUT_MS", 9_000),
}
RESTORED = "restored"
MARGIN_MS = 500
"""How much longer requests wait than the hooks may take: for a result that is on its way."""
TOLD_BY_EXTENSION = frozenset({"snapshot", AFTER_RESTORE})
"""The phases of a process that its extension has taken through the snapshot, and will tell of the restore."""


def budget_ms(phase: str) -> int:
    """The budget of a phase. The extension refuses a wrong value; without one there is the default."""
    variable, default = BUDGETS_MS[phase]
    try:
        return max(1, int(os.environ.get(variable) or default))
    except ValueError:
        return default


class Restoring:
    """One restore of one process.

    told: whether the web adapter's POST says it; else the clock does. is_over: called when every hook has run.
    """

    def __init__(self, *, told: bool, is_over: Callable[[], None]) -> None:
        self.failure: HookFailure | None = None
        self._told = told
        self._is_over = is_over
        self._ended = False
        self._changes = Changes()
        self._callbacks: list[Callable[[], None]] = []
        self._deadline = monotonic() + (budget_ms(AFTER_RESTORE) + MARGIN_MS) / 1000

    def run(self) -> None:
        """Have the hooks run, and wait for it. Called once; never raises."""
        try:
            self.failure = self._run(linking.current())
        except BaseException as error:  # ours, not a hook's; it must not look like success
            self.failure = describe(error, None)
        if self.failure is None:
            self._is_over()
        else:
            notice.once("after_restore failed", _report(self.failure))
        self._ended = True
        self._changes.happened()
        self._call_back()

    def wait(self) -> None:
        """Wait for what another thread runs, no longer than the hooks may take."""
        if not self._changes.wait_for(lambda: self._ended, self.left_s()):
            self.gave_up()

    def when_ended(self, callback: Callable[[], None]) -> None:
        """Call back once it has ended, in the order of these calls, in whichever thread it ends."""
        self._callbacks.append(callback)
        if self._ended:
            self._call_back()

    def left_s(self) -> float:
        return max(0.0, self._deadline - monotonic())

    def why_not(self) -> HookFailure | None:
        """Why a request that has waited may not pass, or None."""
        if self._ended:
            return self.failure
        return HookFailure("TimeoutError", f"still running after {budget_ms(AFTER_RESTORE)} ms", "", None)

    def gave_up(self) -> None:
        variable = BUDGETS_MS[AFTER_RESTORE][0]
        notice.once(
            "after_restore late",
            f"the after-restore hooks of process {os.getpid()} still run after {budget_ms(AFTER_RESTORE)} ms "
            f"({variable}): requests get 503 until they end. Set a timeout on what the hook waits for",
        )

    def _call_back(self) -> None:
        while self._callbacks:
            try:
                callback = self._callbacks.pop(0)
            except IndexError:  # another thread has taken the last
                return
            callback()

    # --- by whom ---------------------------------------------------------------------------------------------------

    def _run(self, link: Link) -> HookFailure | None:
        if link.is_connected():
            if self._told:
                return self._by_command() if RESTORED in link.view.commands else _beside_an_older_extension(link)
            if link.view.phase in TOLD_BY_EXTENSION:
                outcome = self._by_extension(link)
                if outcome is not None:
                    return outcome.error
        return run_alone(AFTER_RESTORE).error

    def _by_command(self) -> HookFailure | None:
        """The extension takes every process of the function across. It knows of no restore before we say so.

        A thread says it: this one may be the main thread, where the extension has the hooks run meanwhile.
        """
        failures: list[HookFailure | None] = []

        def say() -> None:
            failures.append(_say_restored(self.left_s()))
            view.has_news()

        view = linking.current().view
        try:
            start_new_thread(say, ())
        except RuntimeError as error:
            notice.debug(f"the hooks cannot run in the thread that holds a request: {error}")
            say()
        main_thread.hold(view, lambda: bool(failures), self.left_s())
        return failures[0] if failures else HookFailure("TimeoutError", "the extension has not answered", "", None)

    def _by_extension(self, link: Link) -> Outcome | None:
        """Wait until the extension has told this process; None if it is gone, or never does."""
        order = _order(AFTER_RESTORE)

        def is_decided() -> bool:
            return link.outcome(order) is not None or link.view.generation > 0 or not link.is_connected()

        main_thread.hold(link.view, is_decided, self.left_s() - MARGIN_MS / 1000)
        if link.view.generation:
            return Outcome(0.0, (), None)
        outcome = link.outcome(order)
        if outcome is None and link.is_connected():
            text = f"the extension did not send after_restore to process {os.getpid()}; its log says why"
            return Outcome(0.0, (), HookFailure("NotTold", text, "", None))
        return outcome


def _beside_an_older_extension(link: Link) -> HookFailure | None:
    """It takes no word of the restore from an app: it waits for the web adapter's next check, or does not know at all.

    That check comes when this POST has been answered, and it holds all requests.
    """
    is_told = link.view.phase in TOLD_BY_EXTENSION
    whose = "the layer has the hooks run when the web adapter checks" if is_told else "this process runs its own"
    notice.once(
        "older layer",
        f"process {os.getpid()}: the snapext layer is older than this package and takes no report of the restore: "
        f"{whose}. Use the same version of both",
    )
    return None if is_told else run_alone(AFTER_RESTORE).error


def _say_restored(timeout_s: float) -> HookFailure | None:
    try:
        result = ask(RESTORED, timeout_s=timeout_s)
    except ControlError as error:
        return HookFailure("ControlError", str(error), "", None)
    return None if result["ok"] else HookFailure("RestoreFailed", str(result["message"]), "", None)


def run_alone(phase: str) -> Outcome:
    """Run the hooks of one phase in this thread, without an extension. Once: the second call returns how it ended."""
    link = linking.current()
    before, _ = registry.counts()
    if phase == AFTER_RESTORE and before and link.outcome(_order(BEFORE_SNAPSHOT)) is None:
        notice.once(
            "before_snapshot did not run",
            f"the {before} before-snapshot hooks of process {os.getpid()} have not run: no extension answers, and the "
            "web adapter has not called this process before the snapshot",
        )
    return link.run_alone(_order(phase))


def _order(phase: str) -> BeforeSnapshot | AfterRestore:
    """What the extension would say. There is no id of the environment: each process would make one of its own."""
    if phase == BEFORE_SNAPSHOT:
        return BeforeSnapshot(0, 0, budget_ms(phase), serving=True)
    return AfterRestore(0, 1, budget_ms(phase), "", time.time(), time.monotonic())


def _report(failure: HookFailure) -> str:
    hook = f"hook {failure.hook}" if failure.hook else "phase"
    took = "" if failure.duration_ms is None else f" after {failure.duration_ms:.0f} ms"
    return (
        f"after_restore {hook} in process {os.getpid()} failed{took}: {failure.type}: {failure.message}; every request "
        f"to this process gets 503. {failure.stack}"
    )
