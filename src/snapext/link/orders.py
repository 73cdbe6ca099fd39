"""Carry out a phase that the extension tells: here, or as a task of the loop that runs here; then answer."""

from __future__ import annotations

from snapext.guest.primitives import get_ident
from snapext.hooks import loops, runner
from snapext.link import straight
from snapext.link.channel import Channel
from snapext.link.told import Order, Told, signal_mask
from snapext.link.view import View
from snapext.wire.phases import BEFORE_SNAPSHOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class Orders:
    """The phases that one process is told. A phase that is told twice runs once."""

    def __init__(
        self,
        view: View,
        app_mask: set[int],
        *,
        takes_part: bool,
        tell_hook_counts: Callable[[], None],
        imports_are_over: Callable[[], None],
        hang_up: Callable[[Channel], None],
    ) -> None:
        self._view = view
        self._told = Told(takes_part=takes_part)
        self._tell_hook_counts = tell_hook_counts
        self._imports_are_over = imports_are_over
        self._hang_up = hang_up
        self._app_mask = app_mask
        self._in_hook = 0  # the thread in which a hook runs that a signal has asked for
        self._asked_within = False  # by a signal, in the middle of a hook that runs without an extension
        self._tasks: set[asyncio.Task[None]] = set()

    def runs_a_hook_in(self, thread: int) -> bool:
        """Whether a hook runs in a thread that is not the link's own."""
        return thread in (self._in_hook, self._told.main.in_hook)

    def forget(self) -> None:
        """Forget how phases have ended: somebody else asks now."""
        self._told.forget()

    def obey(self, order: Order, channel: Channel, *, by_signal: bool) -> bool:
        """Run the hooks, or recall how that went. Returns whether it goes on, so that `channel` has to be kept."""
        under_way = self._told.is_under_way(order)
        self._told.ask(channel, order)
        if under_way or (by_signal and self._in_hook == get_ident()):
            self._asked_within = True
            return True  # we are in the middle of one of its hooks; what runs them answers here, too
        self._view.phase_begins(order)
        self._told.main.phase_begins()
        outcome = self._told.outcome(order)
        loop = loops.running_loop() if by_signal and outcome is None else None
        if loop is not None:
            loop.call_soon_threadsafe(self._obey_in_a_task, loop, order)  # it wakes the loop, unlike call_soon
            return True
        if outcome is None:
            self._tell_hook_counts()  # those that came to light since
            outcome = self._run(order, by_signal=by_signal)
            if order.type == BEFORE_SNAPSHOT and outcome.error is None and not by_signal:
                channel.straight = straight.prepare(self._view, self._told, channel, self._app_mask, self._conclude)
        self._conclude(order, outcome, keep=channel)
        return False

    def outcome(self, order: Order) -> runner.Outcome | None:
        return self._told.outcome(order)

    def obey_alone(self, order: Order) -> runner.Outcome:
        """Run a phase in this thread, told by no extension. One may come meanwhile and tell it: it still runs once."""
        self._view.phase_begins(order)
        self._told.main.phase_begins()
        outcome = self._told.outcome(order)
        if outcome is None:
            self._asked_within = False
            outcome = self._run(order, by_signal=True)
        if self._asked_within:
            self._conclude(order, outcome, keep=None)
            return outcome

        def answer() -> None:
            self._told.record(order, outcome)
            self._told.main.phase_is_answered()

        self._view.phase_ends(order.type, order.generation, ok=outcome.error is None, answer=answer)
        return outcome

    def _run(self, order: Order, *, by_signal: bool) -> runner.Outcome:
        if not self._told.claim(order):
            return self._told.wait(order)
        phase = self._told.phase(order, self._imports_are_over)
        if not by_signal:
            with signal_mask(self._app_mask):
                return runner.run(phase)
        self._in_hook = get_ident()
        try:
            return runner.run(phase)
        finally:
            self._in_hook = 0

    def _obey_in_a_task(self, loop: asyncio.AbstractEventLoop, order: Order) -> None:
        task = loop.create_task(self._run_here(order))
        self._tasks.add(task)  # the loop itself keeps none
        task.add_done_callback(self._tasks.discard)

    async def _run_here(self, order: Order) -> None:
        def in_hook(begins: bool) -> None:
            self._in_hook = get_ident() if begins else 0

        if self._told.claim(order):
            outcome = await runner.run_here(self._told.phase(order, self._imports_are_over), in_hook)
        else:
            outcome = await self._told.wait_here(order)
        self._conclude(order, outcome, keep=None)

    def _conclude(self, order: Order, outcome: runner.Outcome, *, keep: Channel | None) -> None:
        """Answer all connections that have asked, and hang up on those that were kept waiting for it."""

        def answer() -> None:
            for channel in self._told.answer(order, outcome):
                if channel is not keep:
                    self._hang_up(channel)
            self._told.main.phase_is_answered()

        self._view.phase_ends(order.type, order.generation, ok=outcome.error is None, answer=answer)
        self._tell_hook_counts()  # of those that were registered while the extension was too slow to be told
