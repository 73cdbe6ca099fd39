"""The web adapter's settings: the environment variables of the real one, read once into a frozen dataclass.

The defaults are the real adapter's. An unknown word is an error here, where the real adapter silently uses a default:
a typo in a test must not test something else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from snapext.errors import ConfigError
from snapext_extension.observing import is_snap_start

ENV_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"
ENV_HOST = "AWS_LWA_HOST"
ENV_PORT = "AWS_LWA_PORT"
ENV_PLAIN_PORT = "PORT"
ENV_READINESS_PORT = "AWS_LWA_READINESS_CHECK_PORT"
ENV_READINESS_PATH = "AWS_LWA_READINESS_CHECK_PATH"
ENV_READINESS_PROTOCOL = "AWS_LWA_READINESS_CHECK_PROTOCOL"
ENV_HEALTHY_STATUS = "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS"
ENV_READINESS_TIMEOUT = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"
ENV_PASS_THROUGH_PATH = "AWS_LWA_PASS_THROUGH_PATH"  # noqa: S105 - the name of a variable
ENV_ASYNC_INIT = "AWS_LWA_ASYNC_INIT"
ENV_INVOKE_MODE = "AWS_LWA_INVOKE_MODE"
ENV_BEFORE_CHECKPOINT_PATH = "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH"
ENV_AFTER_RESTORE_PATH = "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"

_STATUS_CODES = range(100, 1000)


@dataclass(frozen=True)
class AdapterSettings:
    """Everything the adapter reads from its environment.

    readiness_timeout_s: a limit on each wait for the app, or None for no limit; releases before 1.1 have none.
    """

    runtime_api: str
    snap_start: bool
    host: str
    port: int
    readiness_port: int
    readiness_path: str
    readiness_tcp: bool
    healthy_status: frozenset[int]
    readiness_timeout_s: float | None
    pass_through_path: str
    async_init: bool
    streaming: bool
    before_checkpoint_path: str | None
    after_restore_path: str | None

    @property
    def app_url(self) -> str:
        """The app's address, without a path."""
        return f"http://{self.host}:{self.port}"

    @property
    def readiness_url(self) -> str:
        """What a readiness check over HTTP asks for."""
        return f"http://{self.host}:{self.readiness_port}{self.readiness_path}"

    @property
    def hook_paths(self) -> frozenset[str]:
        """The app's SnapStart paths, which nobody outside may call."""
        return frozenset(path for path in (self.before_checkpoint_path, self.after_restore_path) if path)


def read_settings(environ: Mapping[str, str]) -> AdapterSettings:
    """Return the settings in `environ`.

    Raises:
        ConfigError: a variable has an invalid value, or the Runtime API's address is missing.
    """
    runtime_api = environ.get(ENV_RUNTIME_API, "")
    if not runtime_api:
        raise ConfigError(ENV_RUNTIME_API, runtime_api, "the host:port of the Lambda Runtime API")
    port = _port(environ, ENV_PORT if ENV_PORT in environ else ENV_PLAIN_PORT, default=8080)
    return AdapterSettings(
        runtime_api=runtime_api,
        snap_start=is_snap_start(environ),
        host=environ.get(ENV_HOST, "127.0.0.1"),
        port=port,
        readiness_port=_port(environ, ENV_READINESS_PORT, default=port),
        readiness_path=_readiness_path(environ),
        readiness_tcp=_word(environ, ENV_READINESS_PROTOCOL, ("http", "tcp")) == "tcp",
        healthy_status=parse_status_codes(environ.get(ENV_HEALTHY_STATUS, "100-499")),
        readiness_timeout_s=_seconds(environ, ENV_READINESS_TIMEOUT),
        pass_through_path=_path(environ.get(ENV_PASS_THROUGH_PATH, "events")),
        async_init=_word(environ, ENV_ASYNC_INIT, ("false", "true")) == "true",
        streaming=_word(environ, ENV_INVOKE_MODE, ("buffered", "response_stream")) == "response_stream",
        before_checkpoint_path=_hook_path(environ, ENV_BEFORE_CHECKPOINT_PATH),
        after_restore_path=_hook_path(environ, ENV_AFTER_RESTORE_PATH),
    )


def parse_status_codes(text: str) -> frozenset[int]:
    """Return the statuses that `text` lists, such as "200-299, 404".

    Raises:
        ConfigError: a part is neither a status nor a range of statuses.
    """
    codes: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            span = range(int(first), int(last if dash else first) + 1)
        except ValueError:
            span = range(0)
        if not span or span[0] not in _STATUS_CODES or span[-1] not in _STATUS_CODES:
            raise ConfigError(ENV_HEALTHY_STATUS, text, "status codes and ranges, such as 200-299,404")
        codes.update(span)
    return frozenset(codes)


def _port(environ: Mapping[str, str], variable: str, *, default: int) -> int:
    text = environ.get(variable, str(default))
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ConfigError(variable, text, "a port number from 1 to 65535")
    return int(text)


def _word(environ: Mapping[str, str], variable: str, accepted: tuple[str, ...]) -> str:
    """Return the variable's word in lower case; the first accepted word is the default."""
    text = environ.get(variable, accepted[0])
    if text.lower() not in accepted:
        raise ConfigError(variable, text, " or ".join(accepted))
    return text.lower()


def _readiness_path(environ: Mapping[str, str]) -> str:
    path = environ.get(ENV_READINESS_PATH, "/")
    if not path.startswith("/"):
        raise ConfigError(ENV_READINESS_PATH, path, "a path that begins with /")
    return path


def _seconds(environ: Mapping[str, str], variable: str) -> float | None:
    """None means no limit; so do 0 and less, as in the real adapter."""
    text = environ.get(variable, "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ConfigError(variable, text, "seconds, such as 0.5 (0: no limit)")
    return seconds if seconds > 0 else None


def _hook_path(environ: Mapping[str, str], variable: str) -> str | None:
    path = environ.get(variable, "")
    return _path(path) if path else None


def _path(text: str) -> str:
    return "/" + text.removeprefix("/")
