"""What keeps the unit tests as fast as they are."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def _no_process() -> Iterator[None]:
    """A test that starts a process belongs to tests/process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(subprocess.Popen, "__init__", _refuse)
        monkeypatch.setattr(os, "fork", _refuse)
        yield


def _refuse(*_: object, **__: object) -> None:
    pytest.fail("a unit test starts no process: it belongs to tests/process")
