"""What Lambda starts: register, then everything else.

The platform does not start the user's runtime before we have registered. So we import only what registering needs, and
the rest afterwards.
"""

import os
import sys

from snapext_extension.observing import is_off, observes
from snapext_extension.platform.lambda_api import HttpError, LambdaApi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snapext.wire.messages import HookFailure
    from snapext_extension.log import Log

EXIT_CONFIG = 2
MAX_STACK_CHARS = 8_000


def main(argv: list[str]) -> int:
    """Run the extension whose file is `argv[0]`; returns the exit status."""
    _open_standard_descriptors()
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not argv or not address or not address.rpartition(":")[2].isdecimal():
        _say("this is a Lambda extension: Lambda starts it, or `snapext simulate` does")
        return EXIT_CONFIG
    folder, name = os.path.split(argv[0])
    api = LambdaApi(address)
    try:
        registered = api.register(name, invoke=observes(os.environ, folder))
    except (OSError, HttpError) as error:
        _say(f"the extension cannot reach the platform at {address} (AWS_LAMBDA_RUNTIME_API): {error}")
        return 1
    if registered.status != 200:
        body = registered.body.decode("utf-8", "replace")
        _say(f"the platform refused to register {name!r}: {registered.status} {body}")
        return 1
    return _run(api, folder)


def _open_standard_descriptors() -> None:
    """Open those of 0, 1 and 2 that are closed: no socket of ours must take a number that others write to."""
    try:
        while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(fd)
    except OSError:
        pass  # no /dev/null, or no descriptor: go on with what there is


def _say(text: str) -> None:
    """Not by sys.stderr, which is None where the descriptor was closed."""
    os.write(2, f"snapext: {text}\n".encode("utf-8", "backslashreplace"))


def _run(api: LambdaApi, folder: str) -> int:
    from snapext.errors import ConfigError, SnapextError
    from snapext_extension import config
    from snapext_extension.boundary.failures import Failure
    from snapext_extension.extension import Extension
    from snapext_extension.log import Log
    from snapext_extension.platform.report import report_bad_start, report_to_extensions, report_to_runtime
    from snapext_extension.reserve import Reserve

    api.reserve = Reserve()
    log = _log(Log)
    try:
        if is_off(os.environ):
            from snapext_extension.off import Off, log_level

            log = _log(Log, log_level(os.environ))
            return Off(os.environ, api, log).run()
        settings = config.parse(os.environ, os.geteuid())
        log = _log(Log, settings.log_level)
        for unknown in config.unknown_names(os.environ):
            log.write("warning", "unknown_setting", message=f"{unknown} is not a setting of snapext")
        if (unknown_integrations := config.unknown_integrations(os.environ)) is not None:
            log.write("warning", "unknown_integration", message=unknown_integrations)
        return Extension(settings, api, log, folder).run()
    except ConfigError as error:
        report_bad_start(api, log, "Extension.ConfigError", str(error), EXIT_CONFIG)
        return EXIT_CONFIG
    except SnapextError as error:
        report_bad_start(api, log, "Extension.StartError", str(error))
        return 1
    except Exception as error:  # a bug of ours, or a platform that is gone: report it
        bug = _bug(error)
        failure = Failure("init", "Extension.InternalError", f"{bug.type}: {bug.message}", 1, None, error=bug)
        report_to_runtime(api, log, failure)
        report_to_extensions(api, log, failure)
        return 1
    finally:
        log.close()


def _log(kind: "type[Log]", level: str = "info") -> "Log":
    """A failure is to be in the metrics even where the settings are refused."""
    if os.environ.get("SNAPEXT_METRICS") != "emf":
        return kind(level)
    from snapext_extension.metrics import MetricsLog  # few use it

    return MetricsLog(os.environ, level)


def _bug(error: Exception) -> "HookFailure":
    """With the stack, which says where in our code it was."""
    from snapext.wire.messages import HookFailure

    try:
        import traceback

        stack = "".join(traceback.format_exception(error))[-MAX_STACK_CHARS:]
    except Exception:  # no descriptor is left to import it: report the rest all the same
        stack = ""
    return HookFailure(type(error).__name__, str(error), stack, None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
