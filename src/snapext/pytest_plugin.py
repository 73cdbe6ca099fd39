"""The pytest fixture `snapstart`. pytest loads this module where snapext is installed; nothing of ours imports it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from snapext.testing import SnapStart


@pytest.fixture
def snapstart() -> Iterator[SnapStart]:
    """Run the app's hooks: `snapstart.run()`, or `await snapstart.arun()` in an async test. docs/testing.md."""
    from snapext.testing import SnapStart  # a session that does not use it must not pay for it

    with SnapStart() as snapstart:
        yield snapstart
