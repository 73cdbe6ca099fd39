"""What this process has been told to do, and how that went: each phase of each boundary runs once.

When it is told a phase twice, on this connection or another, it answers twice and runs once. While the phase runs, our
line of the board shows which hook is at work; without a line, the connection that has asked last hears it.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` makes enums of what it returns: 265 us of each phase
import os
import sys

from snapext.errors import LocalProtocolError
from snapext.guest import notice
from snapext.guest.own import is_snap_start
from snapext.guest.primitives import Changes, monotonic, sleep
from snapext.hooks import around, checks, registry, runner
from snapext.integrations import table
from snapext.link import process
from snapext.link.channel import Channel
from snapext.link.main_thread import MainThread
from snapext.wire.board import EMPTY, written
from snapext.wire.messages import AfterRestore, BeforeSnapshot, Done, HookFailure, Running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snapext.hooks.runner import Outcome, Phase

Order = BeforeSnapshot | AfterRestore
NOTHING_TO_DO = runner.Outcome(0.0, (), None)


class Told:
    """The phases of one process."""

    def __init__(self, *, takes_part: bool) -> None:
        self.takes_part = takes_part
        self.main = MainThread()
        self.outcomes: dict[tuple[str, int], Outcome] = {}
        self.claims: dict[tuple[str, int], object] = {}
        self.ended = Changes()
        self.asked: dict[tuple[str, int], list[tuple[Channel, int]]] = {}
        self._looked_at_hooks = False

    def forget(self) -> None:
        self.outcomes.clear()
        self.claims.clear()

    def is_under_way(self, order: Order) -> bool:
        """Whether the hooks of a phase run: a signal has come in the middle of one."""
        return _key(order) in self.asked

    def claim(self, order: Order) -> bool:
        """Whether the caller is to run this phase: the link's thread and a request may both want to. One gets True."""
        mine = object()
        return self.claims.setdefault(_key(order), mine) is mine

    def wait(self, order: Order) -> Outcome:
        """Wait until it has run in the thread that has claimed it."""
        self.ended.wait_for(lambda: _key(order) in self.outcomes, None)
        return self.outcomes[_key(order)]

    async def wait_here(self, order: Order) -> Outcome:
        """The same on a loop, which goes on meanwhile."""
        import asyncio

        while _key(order) not in self.outcomes:
            await asyncio.sleep(process.FIRST_LOOK_S)
        return self.outcomes[_key(order)]

    def ask(self, channel: Channel, order: Order) -> None:
        """The other end of this connection wants to know how the phase goes and ends."""
        self.asked.setdefault(_key(order), []).append((channel, order.id))

    def outcome(self, order: Order) -> Outcome | None:
        return self.outcomes.get(_key(order))

    def record(self, order: Order, outcome: Outcome) -> None:
        outcome.raised = None  # it is remembered for as long as the process lives, and a traceback holds frames
        self.outcomes[_key(order)] = outcome
        self.ended.happened()

    def answer(self, order: Order, outcome: Outcome) -> list[Channel]:
        """Remember how a phase has ended, and say so on all connections that have asked; returns them."""
        self.record(order, outcome)
        asked = self.asked.pop(_key(order), [])
        for channel, number in asked:
            _empty_line(channel)
            _send_done(channel, number, outcome)
        return [channel for channel, _ in asked]

    def sayer(self, order: Order) -> Callable[[str], None]:
        """What is to be called with the name of each hook before it runs."""
        return lambda hook: self._say_running(order, hook)

    def phase(self, order: Order, imports_are_over: Callable[[], None]) -> Phase:
        """Run the hooks, as a generator (see run). It fails, and never raises, whatever goes wrong with us."""
        if not self.takes_part:
            return NOTHING_TO_DO

        say_running = self.sayer(order)
        try:
            started = monotonic()
            still_importing = _let_imports_end(order, imports_are_over)
            if still_importing is not None:
                return runner.Outcome(_ms(started), (), still_importing)
            left_ms = max(0, order.timeout_ms - int(_ms(started)))
            self._look_at_hooks()
            if isinstance(order, BeforeSnapshot):
                outcome = yield from around.before_snapshot(left_ms, say_running, self.main.call)
                if outcome.error is None:
                    hooks = bool(registry.get_before_snapshot() or registry.get_after_restore())
                    _name_the_unattended(has_hooks=hooks)
                    if registry.get_after_restore():
                        self.main.probe()
                return outcome
            return (yield from around.after_restore(order.environment_id, left_ms, say_running, self.main.call))
        except BaseException as error:  # ours, not a hook's; it must not look like success
            return runner.Outcome(0.0, (), runner.describe(error, None))

    def _say_running(self, order: Order, hook: str) -> None:
        """Write it on our line; else say it to the one that has asked last, which listens to its own id alone."""
        if _key(order) not in self.asked:
            return  # no extension has
        try:
            line = self.asked[_key(order)][-1][0].line
            if line is not None:
                line.write(written(order.generation, hook))
                return
            self._hear_of_it_again(order)
            channel, number = self.asked[_key(order)][-1]
            channel.send(Running(number, hook))
        except Exception as error:  # only for people, when this hook hangs
            notice.debug(f"cannot report that {hook} runs: {error!r}")

    def _hear_of_it_again(self, order: Order) -> None:
        channel, _ = self.asked[_key(order)][-1]
        read = channel.listen()
        for message in list(read):
            if isinstance(message, BeforeSnapshot | AfterRestore) and _key(message) == _key(order):
                read.remove(message)
                self.ask(channel, message)

    def _look_at_hooks(self) -> None:
        if self._looked_at_hooks:
            return
        self._looked_at_hooks = True
        try:
            hooks = (registry.get_before_snapshot(), registry.get_after_restore())
            for twice in filter(None, map(checks.registered_twice, hooks)):
                notice.once("registered twice", twice)
        except Exception as error:  # a hook may be anything, also something that cannot be looked at
            notice.debug(f"cannot read the hooks: {error!r}")


def _name_the_unattended(*, has_hooks: bool) -> None:
    """Libraries that keep connections, and that nobody has asked us to take care of.

    Hooks of the app may do that: then it is said at the level `debug` alone. SNAPEXT_INTEGRATIONS=none ends it.
    """
    if not is_snap_start(os.environ) or table.ENV in os.environ:
        return
    names = table.unattended(sys.modules)
    if names:
        line = (
            f"process {os.getpid()} has loaded {', '.join(names)}, and nothing closes their connections before the "
            f"snapshot and renews them after the restore, unless a hook of yours does: {table.ENV}=auto does it, and "
            f"{table.ENV}={table.NONE} ends this line"
        )
        notice.debug(line) if has_hooks else notice.info("unattended", line)


class signal_mask:  # noqa: N801 - it is used as a function; contextlib costs an import
    """What a hook starts inherits the signal mask: in our thread, which blocks all, it gets the one that the app had.

    What it was, and not all: under gevent our thread is a greenlet, and the mask that of the app's main thread.
    """

    def __init__(self, mask: set[int]) -> None:
        self._mask = mask
        self._own: set[int] = set()

    def __enter__(self) -> None:
        self._own = _signal.pthread_sigmask(_signal.SIG_SETMASK, self._mask)

    def __exit__(self, *_: object) -> None:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, self._own)


def _let_imports_end(order: Order, imports_are_over: Callable[[], None]) -> HookFailure | None:
    """Wait until the main thread is not in the middle of an import, where more hooks may be about to be registered.

    As long as the phase lasts, but for a tenth to answer in. Before the snapshot alone: this must not delay a restore.
    """
    if not isinstance(order, BeforeSnapshot) or order.serving or process.is_main_thread():
        return None  # in the main thread, in a signal's handler, what it interrupted cannot go on before it returns
    started = monotonic()
    limit_s = order.timeout_ms / 1000 - min(1.0, order.timeout_ms / 10_000)
    look_s = process.FIRST_LOOK_S
    while process.imports():
        waited_s = monotonic() - started
        if waited_s >= limit_s:
            return HookFailure(
                type="StillImporting",
                message=(
                    f"the main thread was still importing {process.imported_module()} after {waited_s * 1000:.0f} ms, "
                    "when the phase's time was used up: hooks that it registers later would be lost. Make the import "
                    "faster, or start the server after it; SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS says how long to wait"
                ),
                stack="",
                hook=None,
            )
        sleep(min(look_s, limit_s - waited_s))
        look_s = min(look_s * 1.5, process.MAX_LOOK_S)
    imports_are_over()
    return None


def _empty_line(channel: Channel) -> None:
    """No hook runs any more."""
    if channel.line is not None:
        channel.line.write(EMPTY)


def _send_done(channel: Channel, number: int, outcome: Outcome) -> None:
    error = outcome.error
    try:
        channel.send(Done(number, error is None, outcome.duration_ms, outcome.hooks, error, outcome.registered))
    except LocalProtocolError:  # too much for one line: the answer matters, the timings and half a stack do not
        if error is not None:
            error = error.replace(stack=error.stack[-runner.MAX_STACK_CHARS // 2 :])
        channel.send(Done(number, error is None, outcome.duration_ms, (), error, outcome.registered))


def _key(order: Order) -> tuple[str, int]:
    return order.type, order.generation


def _ms(started: float) -> float:
    return round((monotonic() - started) * 1000, 3)
