"""Whether this process is one of ours: it is never linked."""

from __future__ import annotations

import os
import sys

MARK = "_snapext_own"
"""A launcher of ours sets `sys._snapext_own = True` before it imports us."""


def is_own_process() -> bool:
    """The extension, a tool, a command of ours (`snapext …`, `python -m snapext`), or what a launcher marked."""
    if getattr(sys, MARK, False) or "snapext_extension" in sys.modules or "snapext_tools" in sys.modules:
        return True
    try:
        return _is_our_command(sys.argv)
    except Exception:  # no arguments (an embedded interpreter), or anything that an app may have put there
        return False


def _is_our_command(arguments: list[str]) -> bool:
    if arguments[0] == "-m":  # Python is about to run a module; its name is before what is left of the arguments
        word = sys.orig_argv[len(sys.orig_argv) - len(arguments)]
        module = word.partition("m")[2] if word.startswith("-") else word
        return module.partition(".")[0] == "snapext"
    return os.path.basename(arguments[0]) == "snapext"
