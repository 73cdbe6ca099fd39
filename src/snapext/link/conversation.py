"""What is said on a connection to the extension: hello and welcome, how many hooks there are, and the phases."""

from __future__ import annotations

import os

from snapext.errors import LocalProtocolError, RemoteProtocolError
from snapext.guest import notice
from snapext.guest.primitives import importing, monotonic, sleep
from snapext.hooks import registry
from snapext.link import process
from snapext.link.channel import Channel
from snapext.link.reach import ForeignError
from snapext.link.view import View
from snapext.wire import VERSION
from snapext.wire.messages import (
    APP,
    PROTOCOL_VERSION,
    AfterRestore,
    BeforeSnapshot,
    Describe,
    Described,
    Hello,
    HookCounts,
    Hooks,
    Message,
    Shutdown,
    Welcome,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snapext.hooks.runner import Outcome
    from snapext.link.orders import Orders
    from snapext.link.reach import Reached
    from snapext.link.told import Order

CLIENT = f"snapext-python/{VERSION}"
SIGNAL_TIMEOUT_S = 5.0
"""The sender of the signal waits for us: it takes no time to be told what for."""
MAX_NAMES = 250
MAX_RARE_LOOK_S = 1.0
LOOK_SHARE = 0.05
"""How much longer an import seems to take because we look less often."""


class Conversation:
    """What one process has to say, on the connection that it has now.

    app_mask: the signals that the app had blocked when the link's thread began, which itself blocks all.
    """

    def __init__(self, view: View, *, forked: bool, takes_part: bool, app_mask: set[int]) -> None:
        self._view = view
        self._forked = forked
        self._takes_part = takes_part
        self._app_mask = app_mask
        self._orders: Orders | None = None
        self._extension_pid = 0
        self._channel: Channel | None = None
        self._counts = HookCounts()  # as the extension knows them, and how many requests have passed
        self._passed: int | None = None
        self._importing = False

    def is_connected(self) -> bool:
        return self._channel is not None

    def runs_a_hook_in(self, thread: int) -> bool:
        """Whether a hook runs in a thread that is not the link's own."""
        return self._orders is not None and self._orders.runs_a_hook_in(thread)

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.abandon()

    # --- what a middleware wants -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        self._take_orders()

    def run_alone(self, order: Order) -> Outcome:
        return self._take_orders().obey_alone(order)

    def outcome(self, order: Order) -> Outcome | None:
        return None if self._orders is None else self._orders.outcome(order)

    # --- as long as a connection lasts -----------------------------------------------------------------------------

    def hold(self, reached: Reached) -> None:
        """Speak with the extension until either side ends."""
        self._hold(self._channel_to(reached), only=None)

    def hold_for(self, phase: str, reached: Reached) -> None:
        """The same until this phase, for which we were signalled, is behind us or goes on by itself."""
        channel = self._channel_to(reached)
        channel.limit(SIGNAL_TIMEOUT_S)
        self._hold(channel, only=phase)

    def show_hooks(self, reached: Reached) -> None:
        """Say hello and hang up: the extension then knows of hooks that it cannot reach, and takes no snapshot."""
        channel = self._channel_to(reached)
        self._counts, self._passed = _hook_counts(), self._view.passed
        channel.post(self._hello(signalled=False, board=False))
        channel.close()

    def _channel_to(self, reached: Reached) -> Channel:
        peer, pid = reached
        if self._orders is not None and self._extension_pid not in (0, pid):
            self._orders.forget()  # what a predecessor has told is no answer to another `snapext signal`
        self._extension_pid = pid
        return Channel(peer, self._view.lock)

    def _hold(self, channel: Channel, only: str | None) -> None:
        with self._view.lock:  # hello first: another thread may register a hook at any moment, and tell
            previous, self._channel = self._channel, channel
            self._counts, self._importing = _hook_counts(), only is None and process.imports()
            self._passed = self._view.passed
            channel.post(self._hello(signalled=only is not None, board=only is None and channel.offer_board()))
        kept = False
        try:
            for message in channel.messages(lambda: self._wait_while_importing(channel)):
                kept = self._handle(message, channel, by_signal=only is not None)
                if only is not None and _is_behind(only, message):
                    return
        except (OSError, RemoteProtocolError) as error:
            notice.debug(f"the connection to the extension broke: {error!r}")
        finally:
            with self._view.lock:
                if not kept:
                    self._channel = previous
            if not kept:
                channel.close()

    def _hello(self, *, signalled: bool, board: bool) -> Hello:
        return Hello(
            protocol=PROTOCOL_VERSION,
            pid=os.getpid(),
            role=APP,
            client=CLIENT,
            name=process.name(),
            hooks=self._counts,
            generation=self._view.generation,
            forked=self._forked,
            signalled=signalled,
            importing=self._importing,
            board=board,
            passed=self._passed,
        )

    def _handle(self, message: Message, channel: Channel, *, by_signal: bool) -> bool:
        """Do what a message says. Returns whether it goes on after this, so that the connection has to be kept."""
        if isinstance(message, Welcome):
            with importing:
                channel.take_line(message.line)
            self._welcomed(message)
        elif isinstance(message, BeforeSnapshot | AfterRestore):
            return self._take_orders().obey(message, channel, by_signal=by_signal)
        elif isinstance(message, Describe):
            self._describe(message, channel)
        elif isinstance(message, Shutdown):
            self._view.ends()
        return False

    def _take_orders(self) -> Orders:
        """What runs hooks and renews generators is imported with the first phase: a start need not wait for it."""
        if self._orders is None:
            with importing:
                from snapext.link.orders import Orders

            with self._view.lock:
                self._orders = self._orders or Orders(
                    self._view,
                    self._app_mask,
                    takes_part=self._takes_part,
                    tell_hook_counts=self.tell_hook_counts,
                    imports_are_over=self._imports_are_over,
                    hang_up=self._hang_up,
                )
        return self._orders

    def _welcomed(self, message: Welcome) -> None:
        if message.protocol != PROTOCOL_VERSION:
            notice.once(
                "protocol",
                f"the extension speaks version {message.protocol} of the protocol, this client {PROTOCOL_VERSION}: the "
                f"hooks of process {os.getpid()} will not run. Use the layer and the snapext in your package in the "
                "same version",
            )
            raise ForeignError
        self._view.welcomed(message)

    def _hang_up(self, channel: Channel) -> None:
        with self._view.lock:
            if self._channel is channel:
                self._channel = None
        channel.close()

    def _describe(self, message: Describe, channel: Channel) -> None:
        """The names of the hooks of each phase, in the order in which they run; as many as one message holds."""
        with importing:
            from snapext.hooks.runner import hook_name

        before = [hook_name(hook[0]) for hook in reversed(registry.get_before_snapshot())]
        after = [hook_name(hook[0]) for hook in registry.get_after_restore()]
        most = MAX_NAMES
        while True:
            try:
                return channel.send(Described(message.id, tuple(before[:most]), tuple(after[:most])))
            except LocalProtocolError:
                most = most * 3 // 4

    # --- how many hooks there are, and what has passed --------------------------------------------------------------

    def tell_hook_counts(self) -> None:
        """Tell the extension how many hooks there are now, if that has changed. Any thread may call this."""
        with self._view.lock:
            counts, passed = _hook_counts(), self._view.passed
            channel = self._channel
            is_known = counts == self._counts and passed == self._passed
            if channel is None or is_known or channel.is_behind():
                return  # not linked, nothing new, or the extension is slow: it hears of them before the phase
            self._counts, self._passed = counts, passed
            channel.post(Hooks(counts, self._importing, passed))

    def _wait_while_importing(self, channel: Channel) -> None:
        """Before we wait for the extension for good: have told it that the main thread imports no more.

        A server may run from within an import for as long as it lives: nobody asks any more when it is ready, and until
        then the looks become rare.
        """
        look_s, began = process.FIRST_LOOK_S, monotonic()
        while self._importing and self._view.phase != "ready" and not channel.is_readable(look_s):
            most_s = min(MAX_RARE_LOOK_S, max(process.MAX_LOOK_S, (monotonic() - began) * LOOK_SHARE))
            look_s = min(look_s * 1.5, most_s)
            if not process.imports():
                sleep(process.FIRST_LOOK_S)  # between two imports of a program it looks the same for a moment
                if not process.imports():
                    self._imports_are_over()

    def _imports_are_over(self) -> None:
        """Tell it once, with the hooks that there are then."""
        with self._view.lock:
            counts, was_importing, channel = _hook_counts(), self._importing, self._channel
            news = was_importing or counts != self._counts
            self._importing, self._counts, self._passed = False, counts, self._view.passed
            hooks = Hooks(counts, passed=self._passed)
        if news and channel is not None:
            channel.send(hooks)


def _is_behind(phase: str, message: Message) -> bool:
    """Whether, with this message, a phase that we were signalled for is done, or was not for us."""
    if isinstance(message, Welcome):
        return message.phase != phase or (phase == AfterRestore.type and message.generation > 0)
    return isinstance(message, BeforeSnapshot | AfterRestore | Shutdown)


def _hook_counts() -> HookCounts:
    return HookCounts(*registry.counts())
