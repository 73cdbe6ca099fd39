"""Send what a library has queued, and wait for no server longer than a boundary can."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FLUSH_WITHIN_S = 5.0
"""A version must not fail because nobody takes its telemetry."""


def is_done_in_time(flush: Callable[[], object]) -> bool:
    """Call it on a thread, since libraries heed no timeout. False: it goes on, or says that it was late."""
    results: list[object] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(flush())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="snapext-flush", daemon=True)
    thread.start()
    thread.join(FLUSH_WITHIN_S)
    if errors:
        raise errors[0]
    return bool(results) and results[0] is not False


LATE = (
    f"not all that was queued could be sent within {FLUSH_WITHIN_S:.0f} s: each clone will send it again. Does what "
    "takes it listen while the function is initialised?"
)
