"""Our own settings, read by the extension's own parser: there is no second one."""

from __future__ import annotations

from collections.abc import Mapping

from snapext.errors import ConfigError
from snapext_extension import config
from snapext_tools.doctor.settings import Function


def our_port(function: Function) -> str:
    """The port that the gate listens on."""
    return str(number(function, config.ENV_PORT, config.DEFAULT_PORT))


def number(function: Function, name: str, default: int) -> int:
    """A setting of ours as the extension reads it. `refused_settings` reports a value that it would refuse."""
    value = function.variable(name)[1]
    error = None if value is None else first_refused({name: value})
    return default if value is None or error is not None else int(value)


def first_refused(environ: Mapping[str, str]) -> ConfigError | None:
    """The first setting that makes the extension fail init."""
    try:
        config.parse(environ, uid=1000)
    except ConfigError as error:
        return error
    return None
