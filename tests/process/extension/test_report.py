"""Reports of an error to a platform that does not take them, over real sockets."""

import socket
import threading

from helpers import LIMIT_S, MemoryLog
from snapext_extension.boundary.failures import Failure
from snapext_extension.platform.lambda_api import EXTENSION_EXIT_ERROR, LambdaApi
from snapext_extension.platform.report import report_to_extensions

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nnot now"


def report(port):
    """What the log says of one report."""
    log = MemoryLog()
    failure = Failure("init", "Extension.StartError", "no socket", 1, None)
    report_to_extensions(LambdaApi(f"127.0.0.1:{port}"), log, failure)
    (record,) = log.records
    return record


def test_a_report_to_a_platform_that_is_gone_is_said_with_its_cause():
    """The log is the only place that says it then: which report, and why."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        record = report(free.getsockname()[1])

    assert (record["level"], record["event"], record["path"]) == ("error", "report_failed", EXTENSION_EXIT_ERROR)
    assert record["message"].startswith(f"the platform did not take the error report at {EXTENSION_EXIT_ERROR}: ")
    assert "refused" in record["message"]


def test_a_report_that_the_platform_refuses_is_said_with_its_answer():
    """Status and body are what its developers ask for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT_S)

        def refuse():
            with server.accept()[0] as call:
                call.recv(65536)
                call.sendall(REFUSAL)

        thread = threading.Thread(target=refuse)
        thread.start()
        record = report(server.getsockname()[1])
        thread.join(LIMIT_S)

    assert (record["level"], record["event"], record["status"]) == ("error", "report_refused", 403)
    assert record["message"] == (
        f"the platform refused the error report at {EXTENSION_EXIT_ERROR} with status 403: not now"
    )
