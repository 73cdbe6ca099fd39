"""What Lambda starts: register, then everything else.

The platform does not start the user's runtime before we have registered, so nothing is imported before that which
registering does not need.
"""

import os
import sys

from snapext_extension.lambda_api import HttpError, LambdaApi

EXIT_CONFIG = 2


def main(argv: list[str]) -> int:
    """Run the extension whose file is `argv[0]`; returns the exit status."""
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not argv or not address or not address.rpartition(":")[2].isdecimal():
        sys.stderr.write("snapext: this is a Lambda extension: Lambda starts it, or `snapext simulate` does\n")
        return EXIT_CONFIG
    folder, name = os.path.split(argv[0])
    api = LambdaApi(address)
    try:
        registered = api.register(name)
    except (OSError, HttpError) as error:
        sys.stderr.write(f"snapext: the platform at {address} (AWS_LAMBDA_RUNTIME_API) cannot be reached: {error}\n")
        return 1
    if registered.status != 200:
        body = registered.body.decode("utf-8", "replace")
        sys.stderr.write(f"snapext: the platform refused to register {name!r}: {registered.status} {body}\n")
        return 1
    return _run(api, folder)


def _run(api: LambdaApi, folder: str) -> int:
    from snapext.errors import ConfigError, SnapextError
    from snapext_extension import config
    from snapext_extension.extension import Extension, report, report_bad_start
    from snapext_extension.failures import Failure
    from snapext_extension.log import Log

    log = Log()
    try:
        settings = config.parse(os.environ, os.geteuid())
        log = Log(settings.log_level)
        for unknown in config.unknown_names(os.environ):
            log.write("warning", "unknown_setting", message=f"{unknown} is not a setting of snapext")
        return Extension(settings, api, log, folder).run()
    except ConfigError as error:
        report_bad_start(api, log, "Extension.ConfigError", str(error), EXIT_CONFIG)
        return EXIT_CONFIG
    except SnapextError as error:
        report_bad_start(api, log, "Extension.StartError", str(error))
        return 1
    except Exception as error:  # a bug of ours, or a platform that is gone: say so where somebody looks
        failure = Failure("init", "Extension.InternalError", f"{type(error).__name__}: {error}", 1, None)
        report(api, log, failure)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
