"""What can be wrong with the SNAPEXT_* variables. A rule is pure, and yields what it finds."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from snapext.wire.signal_names import ENV_SIGNALS
from snapext_extension import config
from snapext_extension.observing import OFF
from snapext_tools.doctor.findings import Finding, Severity
from snapext_tools.doctor.ours import first_refused
from snapext_tools.doctor.rules_adapter import READINESS_PORT, READINESS_PROTOCOL
from snapext_tools.doctor.settings import Function

SERVERS_USE = {
    "USR1": "gunicorn and nginx reopen their logs on it, and Node starts its debugger",
    "USR2": "gunicorn and nginx restart themselves on it",
    "HUP": "gunicorn and nginx replace their workers on it, and the phase would have to wait for the new ones",
    "WINCH": "gunicorn and nginx stop their workers on it",
}


def is_off(function: Function) -> bool:
    """Whether the function's settings say that snapext is to do nothing."""
    return function.variables.get(config.ENV_MODE) in OFF


def mode_off(function: Function) -> Iterator[Finding]:
    """Somebody has turned snapext off, and may have forgotten it."""
    if is_off(function):
        value = function.variables[config.ENV_MODE]
        why = "" if value == "off" else " (what YAML makes of an off without quotes)"
        yield Finding(
            Severity.WARNING,
            f"{config.ENV_MODE} is {value!r}{why}: snapext is off",
            "no hook runs, before the snapshot or after a restore, as if snapext were not attached",
            function.remove_variable(config.ENV_MODE),
        )


def refused_settings(function: Function) -> Iterator[Finding]:
    """Every setting that the extension itself would refuse."""
    known = {name: value for name, value in function.variables.items() if isinstance(value, str)}
    for name in (*READINESS_PORT, *READINESS_PROTOCOL):  # other rules judge these
        known.pop(name, None)
    if known.get(config.ENV_MODE) in ("gate", "explicit"):
        del known[config.ENV_MODE]
    while (error := first_refused(known)) is not None and error.variable in known:
        del known[error.variable]
        yield Finding(
            Severity.ERROR,
            f"{error.variable}={error.value!r} is not accepted: {error.accepted}",
            "the extension refuses it, and init fails; without this line it uses the default",
            function.remove_variable(error.variable),
        )
    for name, setting in function.variables.items():
        if name in config.KNOWN:
            function.read(name, setting)


def shared_signals(function: Function) -> Iterator[Finding]:
    """A signal that a server also uses itself does two things at once."""
    value = function.variable(ENV_SIGNALS)[1]
    names = [] if value is None else [name.strip().upper().removeprefix("SIG") for name in value.split(",")]
    for name in [name for name in ("USR1", "USR2", "HUP", "WINCH") if name in names]:
        yield Finding(
            Severity.WARNING,
            f"{ENV_SIGNALS} is {value!r}, but servers use {name} themselves",
            SERVERS_USE[name],
            function.set_variable(ENV_SIGNALS, "1"),
        )


def misspelt_settings(function: Function) -> Iterator[Finding]:
    """Variables that look like a setting of ours and are none, and names of libraries that are none."""
    for name in config.unknown_names(dict.fromkeys(function.variables, "")):
        value = function.variables[name]
        near = [
            n for n in difflib.get_close_matches(name, sorted(config.KNOWN), 1, 0.85) if n not in function.variables
        ]
        yield Finding(
            Severity.WARNING,
            f"{name} is not a setting of snapext" + (f"; {near[0]} is one" if near else ""),
            "it is ignored, and the default applies",
            function.set_variable(near[0], value, instead_of=name)
            if near and isinstance(value, str)
            else function.remove_variable(name),
        )
    asked = function.variables.get(config.ENV_INTEGRATIONS)
    if isinstance(asked, str) and (line := config.unknown_integrations({config.ENV_INTEGRATIONS: asked})) is not None:
        yield Finding(
            Severity.WARNING,
            line.partition(", and snapext knows")[0],
            "nothing is done for a library of that name: its connections are in the snapshot",
            function.set_variable(config.ENV_INTEGRATIONS, config.corrected_integrations(asked)),
        )
