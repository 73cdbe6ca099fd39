"""What is heard while a life is played: the platform's events, and the lines that the processes write."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

from snapext_extension.kernel import processes
from snapext_tools.simulator import extension_log
from snapext_tools.simulator.folder import EXTENSION
from snapext_tools.simulator.notices import ERROR_CALLS
from snapext_tools.simulator.outcomes import PlatformEvent
from snapext_tools.simulator.recorder import Recorder

HASTY_END = (
    "{error_type} {after_ms:.0f} ms after restore/error: in about 2 of 100 such lives Lambda reports it instead of the "
    "hook's error"
)


class Hearing:
    """Has the recorder note it, and passes on what is not for it.

    hear_app: gets each line that the app or the adapter writes, with its writer. now_ms: the clock of the life.
    """

    def __init__(self, recorder: Recorder, hear_app: Callable[[str, str], None], now_ms: Callable[[], float]) -> None:
        self._recorder = recorder
        self._hear_app = hear_app
        self._now_ms = now_ms

    def platform_event(self, event: PlatformEvent) -> None:
        if event.name == "runtime_started":
            self._recorder.add(event.at_ms, event.name)
        elif event.name == "extension_registered":
            self._recorder.add(event.at_ms, event.name, name=event.detail["name"])
        elif event.name in ERROR_CALLS:
            self._recorder.add(event.at_ms, event.name, error_type=event.detail["error_type"])
        elif event.name == "hasty_end" and event.detail["name"] == EXTENSION:
            message = HASTY_END.format(**event.detail)
            self._recorder.add(event.at_ms, "warning", about="hasty_end", message=message)
        elif event.name == "dropped":
            message = f"{event.detail['call']} got no answer: {event.detail['message']}"
            self._recorder.add(event.at_ms, "warning", about="dropped", message=message)

    def app_line(self, line: str) -> None:
        self._hear_app("app", line)

    def adapter_line(self, line: str) -> None:
        self._hear_app("adapter", line)

    def extension_line(self, line: str) -> None:
        try:
            record = json.loads(line)
            self._on_record(record)
        except (ValueError, KeyError, TypeError, AttributeError):
            self._hear_app("snapext", line)  # not a record of the extension's log, but a person should see it

    def _on_record(self, record: dict[str, Any]) -> None:
        at_ms = max(0.0, self._now_ms() - (time.time() - record["time"]) * 1000)
        extension_log.hear(self._recorder, at_ms, record)
        if record["event"] in ("process_joined", "process_signalled") and (stat := processes.stat(record["pid"])):
            now_ms = self._now_ms()
            ago_s = time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_ticks / os.sysconf("SC_CLK_TCK")
            self._recorder.started(record["pid"], now_ms - ago_s * 1000)
