"""Whether this process is one of ours, and whether one of the app has to be linked. `import snapext` pays for this."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MARK = "_snapext_own"
"""A launcher of ours sets `sys._snapext_own = True` before it imports us: such a process is never linked."""


def is_own_process() -> bool:
    """The extension, a command of ours (`snapext …`, `python -m snapext…`), or what a launcher of ours has marked."""
    if getattr(sys, MARK, False) or "snapext_extension" in sys.modules:
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


def is_expected(environ: Mapping[str, str]) -> bool:
    """Whether an extension is to be expected: a process of the app has to be linked, hooks or none."""
    return environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start" or bool(environ.get("SNAPEXT_SOCKET"))
