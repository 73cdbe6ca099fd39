"""A phase as each process plays it: its hooks, and what snapext itself does around them."""

from __future__ import annotations

import time

from snapext.hooks import own_loops, registry, reseed, runner

GENERATORS = "snapext: generators"
"""What is at work, in a hook's place, while we look for the generators or renew them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from snapext.hooks.runner import Caller, Phase


def before_snapshot(timeout_ms: int, on_start: Callable[[str], None], call: Caller = runner.call_here) -> Phase:
    """Raises NotRenewedError for a registered generator that nobody could renew."""
    began = time.monotonic()
    own_loops.settle()
    before, after = registry.get_before_snapshot(), registry.get_after_restore()
    outcome = yield from runner.before_snapshot(before, after, timeout_ms, on_start, call)
    if outcome.error is None:
        if reseed.is_wanted():
            on_start(GENERATORS)
            reseed.prepare(began + timeout_ms / 1000)  # behind the hooks, which may import
        own_loops.settle()
    return outcome


def renewal() -> Callable[[bytes], None] | None:
    """What comes before the first after-restore hook, called with the environment id. It raises NotRenewedError."""
    return reseed.renewal() if reseed.is_wanted() else None


def rehearsal() -> Callable[[bytes], None] | None:
    """The code of `renewal`, for what nobody draws from."""
    return reseed.rehearsal() if reseed.is_wanted() else None


def after_restore(
    environment_id: str, timeout_ms: int, on_start: Callable[[str], None], call: Caller = runner.call_here
) -> Phase:
    """Raises NotRenewedError for a registered generator that could not be renewed."""
    renew = renewal()
    if renew is not None:
        on_start(GENERATORS)
        renew(reseed.in_bytes(environment_id))
    return (yield from runner.after_restore(registry.get_after_restore(), timeout_ms, on_start, call))
