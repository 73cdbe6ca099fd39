"""The web app as the web adapter sees it."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from snapext_tools.simulator._lwa_settings import AdapterSettings
from snapext_tools.simulator.apigw import HttpRequest

READINESS_INTERVAL_S = 0.01
NOT_READY_NOTICE_S = 2.0
CHUNK_BYTES = 64 * 1024


class AppError(Exception):
    """The app could not be reached, broke off its answer, or refused a SnapStart request."""


class App:
    """The web app: its readiness, its SnapStart paths, its answers."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._settings = settings
        # A transport, not a session: no cookies, redirects or proxies of our own between client and app.
        self._transport = HTTPAdapter()

    def reconnect(self) -> None:
        """Forget connections that a snapshot may have cut."""
        self._transport.close()
        self._transport = HTTPAdapter()

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Check every 10 ms until the app is ready; False if it is not ready within `timeout_s` (None: no limit).

        If the app holds a check open, this waits for the answer.
        """
        start = time.monotonic()
        notice_s = NOT_READY_NOTICE_S
        while True:
            elapsed_s = time.monotonic() - start
            if timeout_s is not None and elapsed_s >= timeout_s:
                return False
            if elapsed_s >= notice_s:
                log(f"the app is not ready after {notice_s:.0f} s")
                notice_s += NOT_READY_NOTICE_S
            if self._is_ready(None if timeout_s is None else timeout_s - elapsed_s):
                return True
            time.sleep(READINESS_INTERVAL_S)

    def notify(self, path: str) -> None:
        """Send the empty POST of a SnapStart phase.

        Raises:
            AppError: the answer is not a 2xx, or there is none.
        """
        answer = self._send("POST", self._settings.app_url + path, {}, b"")
        answer.close()
        if not 200 <= answer.status_code < 300:
            msg = f"POST {path} on the app answered {answer.status_code}"
            raise AppError(msg)

    def forward(self, request: HttpRequest) -> requests.Response:
        """Send a client's request; the answer's body has not been read yet.

        Raises:
            AppError: the app could not be reached.
        """
        return self._send(request.method, self._settings.app_url + request.target, request.headers, request.body)

    def _is_ready(self, timeout_s: float | None) -> bool:
        settings = self._settings
        if settings.readiness_tcp:
            try:
                with socket.create_connection((settings.host, settings.readiness_port), timeout_s):
                    return True
            except OSError:
                return False
        try:
            answer = self._send("GET", settings.readiness_url, {}, b"", timeout_s)
        except AppError:
            return False
        answer.close()
        return answer.status_code in settings.healthy_status

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: bytes, timeout_s: float | None = None
    ) -> requests.Response:
        try:
            request = requests.Request(method, url, headers, data=body).prepare()
            return self._transport.send(request, stream=True, timeout=timeout_s)
        except (requests.RequestException, HTTPError, ValueError) as error:
            msg = f"{method} {url} got no answer from the app: {error}"
            raise AppError(msg) from error


def body_of(answer: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives and as it was sent, compressed or not.

    Raises:
        AppError: the app broke off its answer.
    """
    try:
        while piece := answer.raw.read1(CHUNK_BYTES, decode_content=False):
            yield piece
    except (HTTPError, OSError) as error:
        msg = f"the app broke off its answer: {error}"
        raise AppError(msg) from error


def log(message: str) -> None:
    """Write one line of the adapter's log."""
    sys.stderr.write(f"web-adapter: {' '.join(message.split())}\n")
    sys.stderr.flush()
