"""How a command that cannot do its work ends: one line, and a non-zero status."""

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


def end_on_signals(*more: signal.Signals) -> None:
    """Let SIGTERM and SIGHUP, and `more`, end the command through its `finally`s: nothing is left behind.

    Only the first signal does so: a second one would end the `finally`s. Signals that are ignored already (`nohup`, a
    shell's `&`) stay ignored.
    """
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP, *more) if signal.getsignal(n) is not signal.SIG_IGN]

    first = [True]

    def end(received: int, _frame: object) -> None:
        if not first:
            return  # a second signal, before both were ignored
        first.clear()
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + received)

    for number in numbers:
        signal.signal(number, end)
