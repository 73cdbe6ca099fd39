"""The installed layer and a real adapter under AWS's own emulator, on demand: it shows a life without a restore."""

from __future__ import annotations

import json
import re

import pytest
from emulator import at, emulator
from installed import Function

from snapext_tools.simulator import apigw


@pytest.mark.parametrize("adapter", ["0.9.1", "1.0.0-rc1"])
def test_the_layer_lives_under_awss_emulator(function: Function, adapter: str) -> None:
    """It registers under its file name, the runtime starts after that, init ends, an invocation is answered."""
    function.add_adapter(adapter)
    with emulator(function, "/opt/snapext/bootstrap") as platform:
        response = platform.invoke(apigw.http_event("GET", "/"))
        body = json.loads(apigw.parse_response(response.content).body)
    assert body["ran"] == []
    log = platform.log
    registered = at(log, r"POST /2020-01-01/extension/register.*Lambda-Extension-Name:\[snapext\]")
    assert at(log, r"External agent snapext \(.*\) registered, subscribed to \[SHUTDOWN\]")
    assert registered < at(log, "Start runtime")
    assert at(log, r"GET /2020-01-01/extension/event/next") < at(log, r"INIT RTDONE\(status: success\)")


def test_the_extension_ends_on_the_emulators_shutdown(function: Function) -> None:
    """By itself and with status 0, well before it would be killed."""
    function.add_adapter("1.0.0-rc1")
    with emulator(function, "/opt/snapext/bootstrap") as platform:
        platform.invoke(apigw.http_event("GET", "/"))
        platform.terminate()
        platform.await_log("Handling termination for extension-snapext", 10)
    assert at(platform.log, '"event":"shutdown"') < at(platform.log, "Handling termination for extension-snapext")
    assert not re.search(r"Sending SIGKILL to extension-snapext", platform.log)


def test_a_bad_setting_is_what_the_emulator_reports(function: Function) -> None:
    """The extension's own init/error, with its type."""
    function.add_adapter("1.0.0-rc1")
    with emulator(function, "/opt/snapext/bootstrap", SNAPEXT_WORKERS="four") as platform:
        platform.invoke(apigw.http_event("GET", "/"))
    assert "/2020-01-01/extension/init/error" in platform.log
    assert "SNAPEXT_WORKERS='four' is not accepted" in platform.log
    assert "INIT RTDONE(status: success)" not in platform.log


def test_a_crash_of_the_extension_is_what_the_emulator_reports(function: Function) -> None:
    """Extension.Crash, as our local Lambda says it too."""
    function.add_adapter("1.0.0-rc1")
    killer = function.root / "kill.sh"
    killer.write_text(
        "#!/bin/sh\nfor process in /proc/[0-9]*; do\n"
        '  grep -q snapext_extension "$process/cmdline" && kill -9 "${process#/proc/}"\n'
        "done 2>/dev/null\nsleep 30\n"
    )
    killer.chmod(0o755)
    with emulator(function, str(killer)) as platform:
        response = platform.invoke({})
    assert "Extension.Crash" in response.text + platform.log
