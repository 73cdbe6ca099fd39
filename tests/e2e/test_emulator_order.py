"""The order of the extension's calls, by the log of AWS's own emulator: it decides what is published.

If the runtime has asked for its first event already, an extension's event/next completes the initialization, and a
version is published whose after-restore hooks never run. So it waits for a refusal of restore/next before.
"""

from __future__ import annotations

import re

from emulator import CACHING, SNAP_START, at, emulator
from installed import Function
from test_emulator_restore import (
    BOOTSTRAP,
    INIT_ENDED,
    INVOCATION_ASKED,
    RESTORE_ASKED,
    WORKERS,
    event_next_of,
    hooks_of,
    trace,
)

from snapext_tools.simulator import apigw

ENV = {"SNAPEXT_WORKERS": str(WORKERS), **SNAP_START}


def test_restore_next_is_asked_before_event_next(function: Function) -> None:
    """A refusal, which AWS's code sends at once, would have come: the extension waits for it (REFUSAL_MS)."""
    function.add_adapter("0.9.1")
    with emulator(function, CACHING, BOOTSTRAP, **ENV) as platform:
        platform.begin(apigw.http_event("GET", "/"))
        platform.await_log(INVOCATION_ASKED)
    log = platform.log
    assert at(log, RESTORE_ASKED) < at(log, event_next_of(log, "snapext")) < at(log, INIT_ENDED)


def test_init_fails_when_the_runtime_went_first(function: Function) -> None:
    """restore/next is refused: event/next is never asked, so no version is published that would serve stale."""
    with emulator(function, CACHING, BOOTSTRAP, _HANDLER="first.sh", **ENV) as platform:
        response = platform.invoke(apigw.http_event("GET", "/"))
    log = platform.log
    assert at(log, INVOCATION_ASKED) < at(log, RESTORE_ASKED)
    assert response.status_code == 502
    assert re.search(r"INIT RTDONE\(status: error", log)
    assert not re.search(INIT_ENDED, log)
    assert not re.search(event_next_of(log, "snapext"), log)
    assert {tuple(hooks) for hooks in hooks_of(trace(function))} <= {("before",)}


def test_a_failed_restore_is_reported_alone_until_the_platform_says_shutdown(function: Function) -> None:
    """The platform prefers the first fatal error that it has stored, and that must be the hook's."""
    function.add_adapter("0.9.1")
    with emulator(function, CACHING, BOOTSTRAP, FAIL="after", **ENV) as platform:
        platform.begin(apigw.http_event("GET", "/"))
        platform.await_log("POST /2018-06-01/runtime/restore/error")
        platform.terminate()
        platform.await_log("Handling termination for extension-snapext|Process extension-snapext-1 exited", 20)
    log = platform.log
    shutting_down = at(log, "Shutting down the agents")
    for own in ("POST /2020-01-01/extension/exit/error", "Handling termination for extension-snapext"):
        found = re.search(own, log)
        assert found is None or found.start() > shutting_down
