"""What tests of every folder share."""

from __future__ import annotations

import signal
import sys

import pytest

from helpers import need


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts `pytest &` with Ctrl-C ignored, nohup ignores SIGHUP, and each app under test would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line(
        "markers", "needs(*programs): what it runs that Python does not bring; without them it is left out"
    )
    config.addinivalue_line(
        "markers", "cells(row, **promises): it holds these cells of docs/guarantees.md; see test_guarantees.py"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        need(*marker.args)


def pytest_sessionfinish(session: pytest.Session) -> None:
    # Its summary would import hypothesis, which takes as long as fifty tests, also where none has used it.
    plugins = session.config.pluginmanager
    if "hypothesis" not in sys.modules and plugins.has_plugin("hypothesispytest"):
        plugins.unregister(name="hypothesispytest")
