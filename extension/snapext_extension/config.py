"""Every setting of the extension: environment variables in, one Config out. All validation is here."""

from __future__ import annotations

from collections.abc import Mapping

from snapext.errors import ConfigError
from snapext.wire import signal_names
from snapext.wire.place import ENV_SOCKET, socket_path
from snapext.wire.signal_names import ENV_SIGNALS, ENV_TRANSPORT
from snapext_extension import adapter_config
from snapext_extension.adapter_config import (
    ENV_LWA_AFTER_RESTORE_PATH,
    ENV_LWA_BEFORE_CHECKPOINT_PATH,
    ENV_LWA_PORT,
    ENV_LWA_READINESS_PORT,
    ENV_LWA_READINESS_PROTOCOL,
    ENV_LWA_READINESS_TIMEOUT_S,
    Readiness,
    readiness_timeout_ms,
)
from snapext_extension.data import Data
from snapext_extension.log import LEVELS
from snapext_extension.observing import is_off, is_snap_start
from snapext_extension.values import choice, first, integer, optional

ENV_MODE = "SNAPEXT_MODE"
ENV_PORT = "SNAPEXT_PORT"
ENV_WORKERS = "SNAPEXT_WORKERS"
ENV_RESTORE_CALLER = "SNAPEXT_RESTORE_CALLER"
ENV_BEFORE_SNAPSHOT_TIMEOUT_MS = "SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS"
ENV_AFTER_RESTORE_TIMEOUT_MS = "SNAPEXT_AFTER_RESTORE_TIMEOUT_MS"
ENV_READY_TIMEOUT_MS = "SNAPEXT_READY_TIMEOUT_MS"
ENV_SETTLE_MS = "SNAPEXT_SETTLE_MS"
ENV_LOG_LEVEL = "SNAPEXT_LOG_LEVEL"
ENV_SIGNAL_ACK = "SNAPEXT_SIGNAL_ACK"
ENV_METRICS = "SNAPEXT_METRICS"
# The client reads it in the app's processes. We validate it, as we do SNAPEXT_TRANSPORT: our log is where people look.
ENV_RESEED = "SNAPEXT_RESEED"
ENV_HOOK_THREAD = "SNAPEXT_HOOK_THREAD"
ENV_INTEGRATIONS = "SNAPEXT_INTEGRATIONS"

KNOWN = frozenset(
    {
        ENV_MODE,
        ENV_PORT,
        ENV_SOCKET,
        ENV_WORKERS,
        ENV_RESTORE_CALLER,
        ENV_BEFORE_SNAPSHOT_TIMEOUT_MS,
        ENV_AFTER_RESTORE_TIMEOUT_MS,
        ENV_READY_TIMEOUT_MS,
        ENV_SETTLE_MS,
        ENV_LOG_LEVEL,
        ENV_METRICS,
        ENV_RESEED,
        ENV_HOOK_THREAD,
        ENV_INTEGRATIONS,
        ENV_SIGNALS,
        ENV_SIGNAL_ACK,
        ENV_TRANSPORT,
    }
)

EMF = "emf"

DEFAULT_PORT = 9555
DEFAULT_SETTLE_MS = 500
DEFAULT_BEFORE_SNAPSHOT_MS = 60_000
DEFAULT_AFTER_RESTORE_MS = 9_000


class Config(Data):
    """What the extension runs with. Times are in milliseconds.

    mode: `gate` when the adapter's readiness check points at us; `explicit` when the function is to run `snapext
        checkpoint`; `auto` when it may, and no hook runs in time if it does not; `observe` as in observing.py; `off`
        where there is nothing to run (off.py), whatever the rest says.
    signals: the numbers of the signals before the snapshot and after the restore, or None.
    signal_ack: whether a signalled process must say that it is done.
    restore_caller: `extension`, `adapter`, or None to look at the adapter's binary.
    posts_before_checkpoint, posts_after_restore: the adapter is set to POST to the app at that time as well.
    readiness_timeout_ms: how long the adapter waits for each readiness check, or None if it waits without end.
    workers: how many processes must say hello before the boundary, None to find out, 0 to let none be missing.
    metrics: whether CloudWatch makes metrics of the log (metrics.py).
    """

    snap_start: bool
    mode: str
    port: int
    socket_path: str
    readiness: Readiness
    restore_caller: str | None
    posts_before_checkpoint: bool
    posts_after_restore: bool
    readiness_timeout_ms: float | None
    workers: int | None
    before_snapshot_timeout_ms: int
    after_restore_timeout_ms: int
    ready_timeout_ms: int
    settle_ms: int
    log_level: str
    signals: tuple[int, int] | None
    signal_ack: bool
    metrics: bool


def parse(environ: Mapping[str, str], uid: int) -> Config:
    """Read the settings. Raises ConfigError, with a text of one line, at the first value that is not accepted."""
    readiness = adapter_config.readiness(environ)
    port = integer(environ, ENV_PORT, DEFAULT_PORT, 1, 65535)
    mode = _mode(environ, port, readiness)
    path = socket_path(environ, uid)
    if not path.startswith("/") or len(path.encode("utf-8", "surrogateescape")) > 107:
        raise ConfigError(ENV_SOCKET, path, "an absolute path of at most 107 bytes")
    choice(environ, ENV_RESEED, "1", ("0", "1"))
    choice(environ, ENV_HOOK_THREAD, "auto", ("auto", "main", "link"))
    transport = choice(environ, ENV_TRANSPORT, "socket", ("socket", "signal"))
    workers = optional(environ, ENV_WORKERS, lambda env, name: integer(env, name, 0, 0, 1000))
    if transport == "signal" and workers:
        accepted = f"only 0 with {ENV_TRANSPORT}=signal: it counts connected processes, and signalled ones are not"
        raise ConfigError(ENV_WORKERS, environ[ENV_WORKERS], accepted)
    return Config(
        snap_start=is_snap_start(environ),
        mode=mode,
        port=port,
        socket_path=path,
        readiness=readiness,
        restore_caller=optional(environ, ENV_RESTORE_CALLER, _caller),
        posts_before_checkpoint=bool(environ.get(ENV_LWA_BEFORE_CHECKPOINT_PATH)),
        posts_after_restore=bool(environ.get(ENV_LWA_AFTER_RESTORE_PATH)),
        readiness_timeout_ms=readiness_timeout_ms(environ.get(ENV_LWA_READINESS_TIMEOUT_S)),
        workers=workers,
        before_snapshot_timeout_ms=integer(
            environ, ENV_BEFORE_SNAPSHOT_TIMEOUT_MS, DEFAULT_BEFORE_SNAPSHOT_MS, 1, 900_000
        ),
        after_restore_timeout_ms=integer(environ, ENV_AFTER_RESTORE_TIMEOUT_MS, DEFAULT_AFTER_RESTORE_MS, 1, 10_000),
        ready_timeout_ms=integer(environ, ENV_READY_TIMEOUT_MS, 120_000, 1, 900_000),
        settle_ms=integer(environ, ENV_SETTLE_MS, DEFAULT_SETTLE_MS, 0, 60_000),
        log_level=choice(environ, ENV_LOG_LEVEL, "info", LEVELS),
        signals=_signals_of(environ),
        signal_ack=choice(environ, ENV_SIGNAL_ACK, "required", ("required", "none")) == "required",
        metrics=choice(environ, ENV_METRICS, "none", ("none", EMF)) == EMF,
    )


class LongPhase(Data):
    """A phase that may take longer than the adapter waits for its readiness check.

    variables: the settings whose sum is `may_take_ms`; fails: what fails when the adapter has given up.
    """

    name: str
    may_take_ms: int
    variables: str
    fails: str


def longer_than(
    timeout_ms: float | None, *, settle_ms: int, before_snapshot_timeout_ms: int, after_restore_timeout_ms: int
) -> list[LongPhase]:
    """The phases in which the adapter (1.1 and later) may give up; none where it waits without end (None)."""
    before = f"{ENV_SETTLE_MS} + {ENV_BEFORE_SNAPSHOT_TIMEOUT_MS}"
    phases = (
        LongPhase("after-restore", after_restore_timeout_ms, ENV_AFTER_RESTORE_TIMEOUT_MS, "the restore"),
        LongPhase("before-snapshot", settle_ms + before_snapshot_timeout_ms, before, "init"),
    )
    return [phase for phase in phases if timeout_ms is not None and timeout_ms < phase.may_take_ms]


def warnings(config: Config, *, adapter_checks: bool) -> list[str]:
    """Settings that work against the hooks. adapter_checks: the web adapter is 1.1.0 or later, and reads them."""
    found: list[str] = []
    if not (config.snap_start and config.mode == "gate" and adapter_checks):
        return found
    if config.posts_after_restore:
        found.append(
            f"{ENV_LWA_AFTER_RESTORE_PATH} is set: the web adapter calls that route before the after-restore hooks "
            "run: the route sees the state of the snapshot, and the restore fails if it waits for a hook; unset it, "
            "and register an after-restore hook instead"
        )
    found += [
        f"{ENV_LWA_READINESS_TIMEOUT_S}={(config.readiness_timeout_ms or 0) / 1000:g} is shorter than the "
        f"{phase.may_take_ms / 1000:g} s that the {phase.name} hooks may take ({phase.variables}): the web adapter "
        f"gives up first, and {phase.fails} fails; unset it, or set more"
        for phase in longer_than(
            config.readiness_timeout_ms,
            settle_ms=config.settle_ms,
            before_snapshot_timeout_ms=config.before_snapshot_timeout_ms,
            after_restore_timeout_ms=config.after_restore_timeout_ms,
        )
    ]
    return found


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings of ours and are none: a misspelt name must not stay unnoticed."""
    return sorted(name for name in environ if name.startswith("SNAPEXT_") and name not in KNOWN)


def unknown_integrations(environ: Mapping[str, str]) -> str | None:
    """One line about names in SNAPEXT_INTEGRATIONS that nothing is done for. The app runs without them."""
    value = environ.get(ENV_INTEGRATIONS, "none")
    if value in ("none", "auto", ""):
        return None
    from snapext.integrations import table  # only a setting that names libraries pays for their table

    unknown = table.named(value)[1]
    return table.why_unknown(unknown) if unknown else None


def corrected_integrations(value: str) -> str:
    """The value with the names that may be meant; one that is like none is left out."""
    from snapext.integrations import table

    return table.corrected(value)


def _signals_of(environ: Mapping[str, str]) -> tuple[int, int] | None:
    """The signals. With SNAPEXT_TRANSPORT=signal there are some: nothing else tells the app its phases."""
    if environ.get(ENV_TRANSPORT) == "signal":
        environ = {ENV_SIGNALS: "1", **environ}
        if environ[ENV_SIGNALS] == "0":
            raise ConfigError(ENV_SIGNALS, "0", f"1, or two signals, when {ENV_TRANSPORT}=signal")
    return signal_names.parse(environ)


def _mode(environ: Mapping[str, str], port: int, readiness: Readiness) -> str:
    """What starts the boundary. SNAPEXT_MODE=gate and =explicit insist; auto is the gate if the check points at us."""
    if is_off(environ):
        return "off"
    mode = choice(environ, ENV_MODE, "auto", ("auto", "gate", "explicit", "observe", "off"))
    variable, value = first(environ, ENV_LWA_READINESS_PORT, "READINESS_CHECK_PORT")
    ours = value == str(port)
    if mode == "gate" and not ours:
        raise ConfigError(variable, value or "", f"{port} (our port, {ENV_PORT}) when {ENV_MODE}=gate")
    if mode in ("explicit", "observe") and ours:
        raise ConfigError(variable, str(value), f"the app's own port when {ENV_MODE}={mode}: nothing answers at {port}")
    if ours and readiness.port == port:
        raise ConfigError(
            first(environ, ENV_LWA_PORT, "PORT")[0],
            str(port),
            f"a port other than {ENV_PORT}, on which the extension listens",
        )
    if ours:
        variable, value = first(environ, ENV_LWA_READINESS_PROTOCOL, "READINESS_CHECK_PROTOCOL")
        if (value or "http").lower() == "tcp":
            raise ConfigError(
                variable, value or "", "http (snapext cannot hold a TCP connect until the hooks have run)"
            )
    return "gate" if ours else mode


def _caller(environ: Mapping[str, str], name: str) -> str:
    return choice(environ, name, "", ("extension", "adapter"))
