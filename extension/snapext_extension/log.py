"""The extension's log: one JSON object a line on standard output, which Lambda and the simulator both collect."""

import contextlib
import json
import os
import time
from typing import Any

LEVELS = ("debug", "info", "warning", "error")


class Log:
    """Writes the events of at least `level`. A line is written at once and in one piece."""

    def __init__(self, level: str = "info", fd: int = 1) -> None:
        self._threshold = LEVELS.index(level)
        self._fd = fd

    def write(self, level: str, event: str, **fields: Any) -> None:
        if LEVELS.index(level) < self._threshold:
            return
        record = {"time": time.time(), "level": level, "source": "snapext", "event": event, **fields}
        with contextlib.suppress(OSError):  # whoever read our log is gone; the boundary matters more
            os.write(self._fd, json.dumps(record, separators=(",", ":")).encode() + b"\n")
