"""How a command ends that cannot do its work: one line, and a status that is not zero."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from snapext.errors import SnapextError


@contextmanager
def one_line() -> Iterator[None]:
    """Turn an error of ours into one line on standard error and status 1."""
    try:
        yield
    except SnapextError as error:
        raise click.ClickException(str(error)) from error


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the command through its `finally`s: nothing is left behind."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
