"""Whether a process of the app has to be linked, and that it has one copy of us. `import snapext` pays for this."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

ENV_INITIALIZATION_TYPE = "AWS_LAMBDA_INITIALIZATION_TYPE"
ENV_MODE = "SNAPEXT_MODE"
OFF = ("off", "false")
"""YAML 1.1 reads an `off` without quotes as false, and CloudFormation gives the function that word."""
FIRST = "_snapext_first"


def keep_first(package: str) -> None:
    """Have one copy of our package in a process, also where something removes modules from `sys.modules`.

    When it is imported again, the first copy comes back: a second one would have hooks and a link of its own, and all
    hooks would run in both.
    """
    first: ModuleType = sys.__dict__.setdefault(FIRST, sys.modules[package])
    if first is not sys.modules[package]:
        _bring_back(first)


def _bring_back(module: ModuleType) -> None:
    sys.modules[module.__name__] = module
    for value in list(vars(module).values()):
        if isinstance(value, type(sys)) and value.__name__.rpartition(".")[0] == module.__name__:
            _bring_back(value)


def is_off(environ: Mapping[str, str]) -> bool:
    """Whether snapext is to do nothing in this function. The extension has the same rule in its observing."""
    return environ.get(ENV_MODE) in OFF


def is_expected(environ: Mapping[str, str]) -> bool:
    """Whether an extension is to be expected: a process of the app has to be linked, hooks or none."""
    return not is_off(environ) and (is_snap_start(environ) or bool(environ.get("SNAPEXT_SOCKET")))


def awaits_restore(environ: Mapping[str, str]) -> bool:
    """Whether a restore may come, and hooks run after it."""
    return is_snap_start(environ) and not is_off(environ)


def is_snap_start(environ: Mapping[str, str]) -> bool:
    """Whether this environment was initialised for SnapStart, so that a restore may come.

    The extension has the same rule in its config: it imports nothing from this room.
    """
    return environ.get(ENV_INITIALIZATION_TYPE) == "snap-start"
