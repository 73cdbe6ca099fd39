"""How an environment ends: as AWS's emulator shuts it down, and so that no process is left behind."""

from __future__ import annotations

import time

from snapext_tools.simulator.folder import EXTENSION, RUNTIME
from snapext_tools.simulator.platform import Platform
from snapext_tools.simulator.sandbox import Sandbox

SHUTDOWN_MS = 2_000
LAST_WORDS_MS = 1_000
RUNTIME_SHARE = 0.3  # the runtime's share of the shutdown time; processes that outlive it are killed at the end


def shut_down(platform: Platform, sandbox: Sandbox, reason: str) -> tuple[bool, float]:
    """End the runtime's process group, then the extensions, as AWS's emulator does; also after a failure.

    Returns whether the extension ended by itself, and how long the shutdown took, in ms.
    """
    started = time.monotonic()
    if RUNTIME in sandbox:
        sandbox.terminate(RUNTIME)
        sandbox.wait_exit(RUNTIME, RUNTIME_SHARE * SHUTDOWN_MS / 1000)
    left_ms = SHUTDOWN_MS - (time.monotonic() - started) * 1000
    platform.shutdown(reason, int(left_ms))
    in_time = EXTENSION not in sandbox or sandbox.wait_exit(EXTENSION, left_ms / 1000)
    duration_ms = round((time.monotonic() - started) * 1000, 3)
    sandbox.drain()
    return in_time, duration_ms


def hear_last_words(sandbox: Sandbox) -> None:
    """Let a runtime that has failed report it itself. How soon the real reset comes is not documented."""
    if RUNTIME in sandbox:
        sandbox.wait_exit(RUNTIME, LAST_WORDS_MS / 1000)


def end_everything(sandbox: Sandbox) -> None:
    """Kill every process, and give the descriptors back."""
    try:
        sandbox.kill_all()
    except BaseException:  # interrupted in the middle, which can happen once (cli/fail.py)
        sandbox.kill_all()
        raise
    finally:
        sandbox.close()
