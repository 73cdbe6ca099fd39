"""What we answer ourselves, the same on each interface. A caller from outside learns no more than whose fault it is."""

from __future__ import annotations

import os

from snapext.wire.messages import HookFailure

STATUS_OK, STATUS_FAILED, STATUS_UNAVAILABLE = 200, 500, 503
REASONS = {200: "OK", 500: "Internal Server Error", 503: "Service Unavailable"}


def before_snapshot(failure: HookFailure | None) -> bytes:
    """One line of text for the web adapter, which fails the version with it; nothing for success."""
    if failure is None:
        return b""
    what = f"the before-snapshot hook {failure.hook}" if failure.hook else "the before-snapshot phase"
    return (
        f"snapext: {what} failed in process {os.getpid()} ({failure.type}): no snapshot may be taken. "
        "The function's log says why.\n"
    ).encode()


def after_restore(failure: HookFailure | None) -> bytes:
    """One line of text for a request that may not pass, and for the web adapter; nothing for success."""
    if failure is None:
        return b""
    what = f"its after-restore hook {failure.hook} failed" if failure.hook else "its after-restore hooks have not run"
    return (
        f"snapext: process {os.getpid()} runs from a snapshot, and {what} ({failure.type}): it serves no request. "
        "The function's log says why.\n"
    ).encode()


def headers(content: bytes) -> list[tuple[str, str]]:
    return [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(content))),
        ("cache-control", "no-store"),
    ]
