"""What can be wrong with the SNAPEXT_* variables. A rule is pure, and yields what it finds."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from snapext.wire.signal_names import ENV_SIGNALS
from snapext_extension import config
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.ours import first_refused
from snapext_tools.doctor.rules_adapter import READINESS_PORT, READINESS_PROTOCOL
from snapext_tools.doctor.settings import Function

SERVERS_USE = {
    "USR1": "gunicorn and nginx reopen their logs on it, and Node starts its debugger",
    "USR2": "gunicorn and nginx start themselves anew on it",
    "HUP": "gunicorn and nginx replace their workers on it: new ones would have to come before the phase can end",
    "WINCH": "gunicorn and nginx end their workers on it",
}


def refused_settings(function: Function) -> Iterator[Finding]:
    """Whatever the extension itself would refuse, one after the other."""
    known = {name: value for name, value in function.variables.items() if isinstance(value, str)}
    for name in (*READINESS_PORT, *READINESS_PROTOCOL):  # judged above, together with what depends on them
        known.pop(name, None)
    if known.get(config.ENV_MODE) in ("gate", "explicit"):
        del known[config.ENV_MODE]
    while (error := first_refused(known)) is not None and error.variable in known:
        del known[error.variable]
        yield Finding(
            Severity.ERROR,
            f"{error.variable}={error.value!r} is not accepted: {error.accepted}",
            "the extension refuses it, and init fails; without the line the default counts",
            function.remove_variable(error.variable),
        )
    for name, setting in function.variables.items():
        if name in config.KNOWN:
            function.read(name, setting)


def shared_signals(function: Function) -> Iterator[Finding]:
    """A signal that a server uses for itself does two things at once."""
    value = function.variable(ENV_SIGNALS)[1]
    names = [] if value is None else [name.strip().upper().removeprefix("SIG") for name in value.split(",")]
    for name in [name for name in ("USR1", "USR2", "HUP", "WINCH") if name in names]:
        yield Finding(
            Severity.WARNING,
            f"{ENV_SIGNALS} is {value!r}, and {name} is one that servers use themselves",
            SERVERS_USE[name],
            function.set_variable(ENV_SIGNALS, "1"),
        )


def misspelt_settings(function: Function) -> Iterator[Finding]:
    """What looks like a setting of ours and is none."""
    for name in config.unknown_names(dict.fromkeys(function.variables, "")):
        value = function.variables[name]
        near = [
            n for n in difflib.get_close_matches(name, sorted(config.KNOWN), 1, 0.85) if n not in function.variables
        ]
        yield Finding(
            Severity.WARNING,
            f"{name} is no setting of snapext" + (f"; {near[0]} is one" if near else ""),
            "it is ignored, and the default counts",
            function.set_variable(near[0], value, instead_of=name)
            if near and isinstance(value, str)
            else function.remove_variable(name),
        )
