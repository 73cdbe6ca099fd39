"""A phase as each process plays it: its hooks, and what snapext itself does around them.

The caches of `snapext.fresh` are emptied behind the last before-snapshot hook, which may have asked for a secret, and
before the first after-restore hook, which wants a new one. The generators are renewed before that.
"""

from __future__ import annotations

import time

from snapext.hooks import registry, reseed, runner

GENERATORS = "snapext: generators"
"""What is at work, in a hook's place, while we look for the generators or renew them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snapext.hooks.runner import Caller, Phase


def before_snapshot(timeout_ms: int, on_start: Callable[[str], None], call: Caller = runner.call_here) -> Phase:
    """Raises NotRenewedError for a registered generator that nobody could renew."""
    began = time.monotonic()
    before, after = registry.get_before_snapshot(), registry.get_after_restore()
    outcome = yield from runner.before_snapshot(before, after, timeout_ms, on_start, call)
    if outcome.error is None and reseed.is_wanted():
        on_start(GENERATORS)
        reseed.prepare(began + timeout_ms / 1000)  # behind the hooks, which may import
    return outcome


def renewal() -> Callable[[str], None] | None:
    """What comes before the first after-restore hook, called with the environment id. It raises NotRenewedError."""
    return reseed.reseed if reseed.is_wanted() else None


def after_restore(
    environment_id: str, timeout_ms: int, on_start: Callable[[str], None], call: Caller = runner.call_here
) -> Phase:
    """Raises NotRenewedError for a registered generator that could not be renewed."""
    renew = renewal()
    if renew is not None:
        on_start(GENERATORS)
        renew(environment_id)
    return (yield from runner.after_restore(registry.get_after_restore(), timeout_ms, on_start, call))
