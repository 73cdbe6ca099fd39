"""Real client processes on a real socket, with the extension's end of it in the test's hands."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import SRC, App, Listener, clean_environ

HOOKS = """
import os, sys, threading, time
import snapext
ran = []
def say(*words): print(*words, flush=True)
@snapext.register_before_snapshot
def before(): ran.append("before")
@snapext.register_after_restore
def after(): ran.append("after")
"""
READ = "\nsys.stdin.readline()\n"
READY = "\nsay('ready')\n"
WAIT = READY + READ
REPORT = WAIT + "print(ran)\n"

Start = Callable[..., App]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bridge" / "bridge.sock"


@pytest.fixture
def listener(path: Path) -> Iterator[Listener]:
    with Listener(path) as listener:
        yield listener


@pytest.fixture
def start(path: Path) -> Iterator[Start]:
    """Start a client process that ends with the test, and wait until it reports that it is ready."""
    apps = []

    def start(code: str, *options: str, **variables: str) -> App:
        standard = {"SNAPEXT_SOCKET": str(path), "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        apps.append(
            App(textwrap.dedent(code), clean_environ(PYTHONPATH=str(SRC), **{**standard, **variables}), *options)
        )
        assert READY not in code or apps[-1].line() == "ready"
        return apps[-1]

    yield start
    for app in apps:
        app.__exit__()
