"""One phase of this process's hooks, run as the link runs it."""

import snapext
from snapext.hooks import runner


def run_before_snapshot(timeout_ms, on_start):
    hooks = (snapext.get_before_snapshot(), snapext.get_after_restore())
    return runner.run(runner.before_snapshot(*hooks, timeout_ms, on_start))


def run_after_restore(timeout_ms, on_start):
    return runner.run(runner.after_restore(snapext.get_after_restore(), timeout_ms, on_start))
