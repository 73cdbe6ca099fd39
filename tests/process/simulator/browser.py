"""A real headless browser in the hands of a test, by its own pipe (the Chrome DevTools Protocol)."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from helpers import LIMIT_S, need

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
"""The first of them that is installed. Debian has the first, and other systems one of the others."""
_OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)
_TALL = 8000
"""A window as tall as any page: nothing of it is scrolled away."""


class Browser:
    """One browser with one page; a context manager. `requests` are the addresses that the page asked for."""

    def __init__(self, folder: Path) -> None:
        program = next(filter(shutil.which, PROGRAMS), PROGRAMS[0])
        need(program)
        self._read, theirs_write = _pipe()
        theirs_read, self._write = _pipe()
        # The browser has its ends as the descriptors 3 and 4; a shell puts them there.
        words = shlex.join([program, *_OPTIONS, f"--user-data-dir={folder}", "about:blank"])
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {words} 3<&{theirs_read} 4>&{theirs_write}"],
            pass_fds=(theirs_read, theirs_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_read)
        os.close(theirs_write)
        self._buffer = b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.requests: list[str] = []
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _attach(self) -> None:
        (target,) = [t for t in self._ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        attached = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._ask(f"{domain}.enable")
        self._ask("Emulation.setFocusEmulationEnabled", enabled=True)

    def __exit__(self, *_: object) -> None:
        os.close(self._write)  # it ends when nobody can command it any more
        os.close(self._read)
        self._process.wait(LIMIT_S)

    def show(self, path: Path, width: int, scheme: str) -> None:
        """Open a file at a width in CSS pixels, and with a colour scheme: light or dark."""
        self.requests, self.complaints = [], []
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=_TALL, deviceScaleFactor=1, mobile=False)
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._ask("Page.navigate", url=path.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        command: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while (message := self._next()).get("id") != number:
            pass
        assert "error" not in message, (method, message)
        return dict(message["result"])

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + LIMIT_S
        while b"\0" not in self._buffer:
            ready = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))[0]
            data = os.read(self._read, 1 << 16) if ready else b""
            assert data, "the browser ended" if ready else f"the browser did not answer within {LIMIT_S} s"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Page.javascriptDialogOpening":
                self.complaints.append(json.dumps(message["params"]))
        return message


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are none of those that the browser has."""
    low = os.pipe()
    read, write = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low)
    for fd in low:
        os.close(fd)
    return read, write
