"""What the hooks of one phase took, in all members together, for the metrics. No I/O."""

from __future__ import annotations

from snapext.wire.messages import Done


class Measures:
    """begin() starts a phase, take() adds the answer of each member."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self._hooks = 0
        self._slowest_hook: str | None = None
        self._slowest_hook_ms = self._slowest_process_ms = 0.0

    def take(self, done: Done, registered: int) -> None:
        """registered: how many hooks the member has, where its answer was too long to name them; a handler is one."""
        self._hooks += len(done.hooks) or registered
        self._slowest_process_ms = max(self._slowest_process_ms, done.duration_ms)
        for hook in done.hooks:
            if hook.duration_ms >= self._slowest_hook_ms:
                self._slowest_hook, self._slowest_hook_ms = hook.name, hook.duration_ms
        if registered and not done.hooks and done.duration_ms > self._slowest_hook_ms:
            self._slowest_hook, self._slowest_hook_ms = None, done.duration_ms  # no more than that is known

    def fields(self) -> dict[str, object]:
        """For the line that ends the phase. Times are in milliseconds."""
        return {
            "hooks": self._hooks,
            "slowest_hook": self._slowest_hook,
            "slowest_hook_ms": self._slowest_hook_ms,
            "slowest_process_ms": self._slowest_process_ms,
        }
