"""One extension as the platform sees it: its state, and the event that it waits for or has not fetched yet."""

from __future__ import annotations

from dataclasses import dataclass

from snapext_tools.simulator.replies import Blocked, Reply
from snapext_tools.simulator.states import ExtensionCall, ExtensionState, extension_after


@dataclass(slots=True)
class PlatformExtension:
    """An external extension (a file in the extensions folder), or an internal one (a part of the runtime)."""

    name: str
    external: bool
    identifier: str
    state: ExtensionState = ExtensionState.STARTED
    events: tuple[str, ...] = ()
    held: Blocked | None = None
    due: Reply | None = None
    has_asked: bool = False

    @property
    def is_over(self) -> bool:
        """True once the extension reported an error or ended."""
        return self.state in (ExtensionState.INIT_ERROR, ExtensionState.EXIT_ERROR, ExtensionState.EXITED)

    def move(self, call: ExtensionCall) -> bool:
        """Make the transition; False when the call is refused in the present state."""
        after = extension_after(self.state, call)
        self.has_asked = self.has_asked or after is ExtensionState.READY
        self.state = after or self.state
        return after is not None

    def deliver(self) -> None:
        """Hand over the event that is due, when the extension waits for one."""
        if self.due and self.held and self.move(ExtensionCall.EVENT):
            self.held.reply = self.due
            self.held = self.due = None
