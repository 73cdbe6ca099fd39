"""Report a failure: to the log, to the Runtime API where it takes it, and to the Extensions API."""

from __future__ import annotations

from snapext.wire.json_text import encode
from snapext_extension.boundary.failures import EXIT_OTHER, Failure
from snapext_extension.log import Log
from snapext_extension.platform.http1 import HttpError
from snapext_extension.platform.lambda_api import (
    EXTENSION_EXIT_ERROR,
    EXTENSION_INIT_ERROR,
    INIT_ERROR,
    RESTORE_ERROR,
    LambdaApi,
)


def report_to_runtime(api: LambdaApi, log: Log, failure: Failure) -> None:
    """Log a failure, and report it to the Runtime API: the function's users see that error."""
    error, process = failure.error, failure.process
    log.write(
        "error",
        "failed",
        phase=failure.phase,
        error_type=failure.error_type,
        message=failure.message,
        pid=process.pid if process else None,
        name=process.name if process else None,
        hook=error.hook if error else None,
        type=error.type if error else failure.error_type,
        reason=error.message if error else failure.message,
        stack=error.stack if error else "",
        reported_to=failure.runtime_report,
    )
    if failure.runtime_report is not None:
        path = INIT_ERROR if failure.runtime_report == "init" else RESTORE_ERROR
        _report_to(api, log, path, failure.error_type, failure)


def report_to_extensions(api: LambdaApi, log: Log, failure: Failure, path: str = EXTENSION_EXIT_ERROR) -> None:
    """Report to the Extensions API that this extension ends, and why."""
    _report_to(api, log, path, f"Extension.{failure.error_type.partition('.')[2]}", failure)


def report_bad_start(api: LambdaApi, log: Log, error_type: str, message: str, exit_status: int = EXIT_OTHER) -> None:
    """Report that the extension cannot start: initialisation fails."""
    failure = Failure("init", error_type, message, exit_status, None)
    report_to_runtime(api, log, failure)
    report_to_extensions(api, log, failure, EXTENSION_INIT_ERROR)


def _report_to(api: LambdaApi, log: Log, path: str, error_type: str, failure: Failure) -> None:
    body = {
        "errorMessage": failure.message,
        "errorType": failure.error_type,
        "stackTrace": failure.error.stack.splitlines() if failure.error else [],
    }
    try:
        response = api.report(path, error_type, encode(body).encode())
    except (OSError, HttpError) as error:
        message = f"the platform did not take the error report at {path}: {error}"
        log.write("error", "report_failed", path=path, message=message)
        return
    if response.status != 202:
        said = response.body[:300].decode("utf-8", "replace")
        message = f"the platform refused the error report at {path} with status {response.status}: {said}"
        log.write("error", "report_refused", path=path, status=response.status, body=said, message=message)
