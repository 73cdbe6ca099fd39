"""What makes a life fail from outside of the extension, in the words of the document; the extension reports its own."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace

from snapext_tools.simulator.outcomes import Failure
from snapext_tools.simulator.plan import Event, Request
from snapext_tools.simulator.recorder import Trouble, seen_by_users

STRANGER = "Sandbox.Stranger"
"""Another program of this machine answers as the app."""
TIMEOUT = "Sandbox.Timeout"
_PHASES = {"init": "init", "the restore": "restore", "the shutdown": "shutdown"}


def of_platform(failure: Failure, at_ms: float) -> Trouble:
    """A failure that the platform saw."""
    seen = seen_by_users(failure.phase, failure.error_type)
    if failure.error_type in (TIMEOUT, STRANGER):
        seen = ""  # only the simulator stops here: Lambda would continue
    if failure.stored is not None:
        failure = replace(failure, message=f"{failure.message} ({failure.stored})")
    trace = failure.body.get("stackTrace")
    stack = "\n".join(map(str, trace)) if isinstance(trace, list) else ""
    what = (failure.phase, None, None, failure.error_type, failure.message, stack, seen)
    return Trouble(*what, at_ms)


def of_call(request: Request | Event, kind: str, message: str, at_ms: float) -> Trouble:
    """A request or an event that got no good answer."""
    text = f"{request}: {message}"
    return Trouble("invoke", None, None, kind, text, "", "the caller got this answer", at_ms)


def of_interruption(stop: BaseException, doing: str, after_s: float, missing: Sequence[str], at_ms: float) -> Trouble:
    """An interruption: what was going on, and what it was waiting for."""
    code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 128 + signal.SIGINT
    name = signal.Signals(code - 128).name if code - 128 in set(signal.Signals) else f"status {code}"
    message = f"interrupted by {name} after {after_s:.1f} s, in {doing}"
    text = f"{message}: {'; '.join(missing)}" if missing else message
    return Trouble(_PHASES.get(doing, "interrupted"), None, None, "Interrupted", text, "", at_ms=at_ms)
