"""What the configuration and the adapter beside us make of this life, and what a person is told about that."""

from __future__ import annotations

from snapext_extension.adapter_config import ENV_LWA_READINESS_PORT
from snapext_extension.boundary.settings import RestoreCaller, Settings
from snapext_extension.config import Config, warnings
from snapext_extension.log import Log
from snapext_extension.platform import adapter

OBSERVES = (
    f"snapext only observes: set {ENV_LWA_READINESS_PORT}={{port}}, and no request is served before the after-restore "
    "hooks have run. Without it they run when the clock or the first invocation shows the restore; "
    "snapext.asgi.SnapStartMiddleware (or snapext.wsgi, snapext.django) in the app holds the requests meanwhile"
)
NO_GATE = (
    f"nothing holds the boundary: set {ENV_LWA_READINESS_PORT}={{port}} so that the web adapter waits for the hooks; "
    "without it they run only if the function runs `snapext checkpoint` (SNAPEXT_MODE=explicit insists on that)"
)


def settings_of(config: Config, extensions_folder: str, *, observes: bool, log: Log) -> Settings:
    """The lifecycle's settings. Raises ConfigError where the adapter and the configuration contradict each other."""
    found = adapter.inspect(extensions_folder)
    decision = adapter.decide(found, config.mode, config.restore_caller, snap_start=config.snap_start)
    if decision.error is not None:
        raise decision.error
    checks = found is not None and found.kind is adapter.Kind.ASKS_AND_CHECKS
    for message in (*decision.warnings, *warnings(config, adapter_checks=checks)):
        log.write("warning", "settings", message=message)
    return Settings(
        boundary=config.snap_start,
        gate=config.mode == "gate",
        held=config.snap_start and (config.mode in ("gate", "explicit") or observes),
        signals=config.signals is not None,
        acknowledged=config.signal_ack,
        restore_caller=RestoreCaller(decision.caller),
        checks_before_snapshot=adapter.checks_before_snapshot(
            found, posts_before_checkpoint=config.posts_before_checkpoint
        ),
        workers=config.workers,
        settle_ms=config.settle_ms,
        ready_timeout_ms=config.ready_timeout_ms,
        before_snapshot_timeout_ms=config.before_snapshot_timeout_ms,
        after_restore_timeout_ms=config.after_restore_timeout_ms,
        debug=config.log_level == "debug",
        observes=observes,
        metrics=config.metrics,
    )


def warn_where_nothing_holds(config: Config, *, observes: bool, log: Log) -> None:
    """Without the gate the platform waits for nothing, or for a command alone."""
    if observes:
        log.write("warning", "observes", message=OBSERVES.format(port=config.port))
    elif config.snap_start and config.mode == "auto":
        log.write("warning", "no_gate", message=NO_GATE.format(port=config.port))
