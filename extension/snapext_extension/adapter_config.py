"""The web adapter's settings, as the adapter reads them: its own names, its older names, and its defaults."""

from __future__ import annotations

from collections.abc import Mapping

from snapext.errors import ConfigError
from snapext_extension.data import Data
from snapext_extension.values import first, integer

ENV_LWA_PORT = "AWS_LWA_PORT"
ENV_LWA_HOST = "AWS_LWA_HOST"
ENV_LWA_READINESS_PORT = "AWS_LWA_READINESS_CHECK_PORT"
ENV_LWA_READINESS_PATH = "AWS_LWA_READINESS_CHECK_PATH"
ENV_LWA_READINESS_PROTOCOL = "AWS_LWA_READINESS_CHECK_PROTOCOL"
ENV_LWA_HEALTHY_STATUS = "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS"
ENV_LWA_MIN_UNHEALTHY_STATUS = "AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS"
ENV_LWA_BEFORE_CHECKPOINT_PATH = "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH"
ENV_LWA_AFTER_RESTORE_PATH = "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH"
ENV_LWA_READINESS_TIMEOUT_S = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"


class Readiness(Data):
    """The adapter's own rule for "the app is ready", applied to the app's own port."""

    host: str
    port: int
    path: str
    healthy: frozenset[int]


def readiness(environ: Mapping[str, str]) -> Readiness:
    """The adapter's settings under its own names, the older ones included, with its defaults."""
    variable, value = first(environ, ENV_LWA_PORT, "PORT")
    port = integer({variable: value} if value is not None else {}, variable, 8080, 1, 65535)
    path = first(environ, ENV_LWA_READINESS_PATH, "READINESS_CHECK_PATH")[1] or "/"
    host = first(environ, ENV_LWA_HOST, "HOST")[1] or "127.0.0.1"
    return Readiness(host=host, port=port, path=path, healthy=_healthy(environ))


def readiness_timeout_ms(value: str | None) -> float | None:
    """How long the adapter (1.1 and later) waits for a readiness check; None without end.

    It takes any positive number of seconds, and ignores what is none.
    """
    digits = (value or "").replace(".", "", 1)
    if value is None or not (digits.isascii() and digits.isdigit()):
        return None
    return float(value) * 1000 or None


def _healthy(environ: Mapping[str, str]) -> frozenset[int]:
    text = environ.get(ENV_LWA_HEALTHY_STATUS)
    if text is None:
        limit = integer(environ, ENV_LWA_MIN_UNHEALTHY_STATUS, 500, 101, 1000)
        return frozenset(range(100, limit))
    healthy: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        low, _, high = part.partition("-")
        codes = (low, high) if "-" in part else (low,)
        if not all(code.isascii() and code.isdigit() and len(code) == 3 for code in codes):
            raise ConfigError(ENV_LWA_HEALTHY_STATUS, text, "codes and ranges of codes, such as 200-399,404")
        healthy.update(range(int(low), int(high or low) + 1))
    if not healthy:
        raise ConfigError(ENV_LWA_HEALTHY_STATUS, text, "at least one status, or the app can never be ready")
    return frozenset(healthy)
