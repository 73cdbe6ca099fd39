"""Run an app's hooks in a test, in order, as at a real snapshot and restore.

def test_the_pool_is_opened(snapstart):      # a pytest fixture that comes with snapext
    snapstart.run()
    assert app.pool.is_open

Without pytest: `with SnapStart() as snapstart:`, or `self.enterContext(SnapStart())` in a unittest.TestCase.
docs/testing.md has the rest. An app does not import this package.
"""

from snapext.testing.snapstart import Boundary, HookFailedError, SnapStart, arun_boundary, run_boundary

__all__ = ["Boundary", "HookFailedError", "SnapStart", "arun_boundary", "run_boundary"]
