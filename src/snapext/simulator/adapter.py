"""A small stand-in for the AWS Lambda Web Adapter, run as a process of its own.

    python -m snapext.simulator.adapter --generation 1.0|1.1 [--before-checkpoint-readiness] --name NAME

It is an extension that acts as the runtime: it registers, waits until the app answers its readiness check,
and then turns invocations into HTTP requests. The generations differ in who crosses the snapshot boundary:
1.0 never asks for `restore/next`; 1.1 asks for it itself when the function uses SnapStart, and checks
readiness again after the restore.

Exit status: 0 when the Runtime API has gone, 1 when a phase failed, 2 for usage and configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from snapext.errors import ConfigError, LambdaApiError, SimulationError
from snapext.simulator import apigw
from snapext.simulator._lwa_settings import AdapterSettings, read_settings

READINESS_INTERVAL_S = 0.01
NOT_READY_NOTICE_S = 2.0
ASYNC_INIT_TIMEOUT_S = 9.8
CHUNK_BYTES = 64 * 1024

BEFORE_SNAPSHOT_ERROR = "Runtime.BeforeSnapshotError"
AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"
UNSUPPORTED_EVENT_ERROR = "Runtime.UnsupportedEvent"
STREAM_ERROR = "Runtime.StreamError"


class RuntimeApiGoneError(Exception):
    """Nobody answers at the Runtime API any more: the environment is over."""


class AppError(Exception):
    """The app could not be reached, broke off its answer, or refused a SnapStart request."""


class RuntimeApi:
    """The calls that the adapter makes to the Runtime and Extensions APIs; each waits as long as it takes."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"
        self._transport = HTTPAdapter()

    def register(self, name: str) -> str:
        """Register as the extension `name` for no events; return the identifier that the platform gave."""
        answer = self._call(
            "POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": name}, b'{"events": []}'
        )
        return str(answer.headers["Lambda-Extension-Identifier"])

    def next_event(self, identifier: str) -> None:
        """Ask for the next extension event: the platform waits for this call before it ends init."""
        self._call("GET", "/2020-01-01/extension/event/next", {"Lambda-Extension-Identifier": identifier})

    def next_invocation(self) -> tuple[str, Any]:
        """Return the next invocation's request id and event; None for an event that is not JSON."""
        answer = self._call("GET", "/2018-06-01/runtime/invocation/next")
        try:
            event = answer.json()
        except ValueError:
            event = None
        return answer.headers["Lambda-Runtime-Aws-Request-Id"], event

    def next_restore(self) -> None:
        """Return when the environment has been restored: the snapshot is taken inside this call."""
        self._call("GET", "/2018-06-01/runtime/restore/next")

    def respond(self, request_id: str, payload: bytes) -> None:
        """Answer an invocation at once."""
        path = f"/2018-06-01/runtime/invocation/{request_id}/response"
        self._call("POST", path, {"Content-Type": "application/json"}, payload)

    def respond_streaming(self, request_id: str, pieces: Iterator[bytes]) -> None:
        """Answer an invocation piece by piece, each sent as soon as there is one."""
        headers = {
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Content-Type": apigw.STREAMING_CONTENT_TYPE,
        }
        self._call("POST", f"/2018-06-01/runtime/invocation/{request_id}/response", headers, pieces)

    def report(self, path: str, error_type: str, message: str) -> None:
        """Report an error to `path` (below /2018-06-01/runtime)."""
        body = {"errorMessage": message, "errorType": error_type, "stackTrace": []}
        self._call(
            "POST",
            f"/2018-06-01/runtime{path}",
            {"Lambda-Runtime-Function-Error-Type": error_type, "Content-Type": "application/json"},
            json.dumps(body).encode(),
        )

    def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
    ) -> requests.Response:
        try:
            request = requests.Request(method, self._url + path, headers, data=body).prepare()
            answer = self._transport.send(request)
            answer.content  # noqa: B018 - read it here, where a broken connection is understood
        except requests.RequestException as error:
            raise RuntimeApiGoneError(str(error)) from error
        if not answer.ok:
            raise LambdaApiError(f"{method} {path}", answer.status_code, answer.text)
        return answer


class App:
    """The web app: its readiness, its SnapStart paths, its answers."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._settings = settings
        # A transport and not a session: no cookies, redirects or proxies of our own between client and app.
        self._transport = HTTPAdapter()

    def reconnect(self) -> None:
        """Forget connections that a snapshot may have cut."""
        self._transport.close()
        self._transport = HTTPAdapter()

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Check every 10 ms until the app is ready; False when it is not within `timeout_s` (None: for ever).

        A check that the app holds open is simply awaited.
        """
        start = time.monotonic()
        notice_s = NOT_READY_NOTICE_S
        while True:
            elapsed_s = time.monotonic() - start
            if timeout_s is not None and elapsed_s >= timeout_s:
                return False
            if elapsed_s >= notice_s:
                _log(f"the app is not ready after {notice_s:.0f} s")
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

    def forward(self, request: apigw.HttpRequest) -> requests.Response:
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


class Adapter:
    """The adapter's life from registration on: phases in order, then one invocation after another."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._settings = settings
        self._runtime = RuntimeApi(settings.runtime_api)
        self._app = App(settings)
        self._ready = False

    def register(self, name: str) -> None:
        """Register, and ask for the first event in the background: the platform never sends one."""
        identifier = self._runtime.register(name)
        threading.Thread(target=_ask_for_event, args=(self._settings.runtime_api, identifier), daemon=True).start()

    def start_1_0(self) -> None:
        """Become ready as releases before 1.1 do: the readiness check and nothing else."""
        self._ready = self._app.wait_ready(ASYNC_INIT_TIMEOUT_S if self._settings.async_init else None)

    def start_1_1(self, *, before_checkpoint_readiness: bool) -> bool:
        """Become ready as releases from 1.1 do; False when a SnapStart phase failed and was reported."""
        settings = self._settings
        self._ready = self._app.wait_ready()
        if not settings.snap_start:
            return True
        try:
            if settings.before_checkpoint_path:
                if before_checkpoint_readiness:
                    self._app.wait_ready()
                self._app.notify(settings.before_checkpoint_path)
        except AppError as error:
            return self._fail("/init/error", BEFORE_SNAPSHOT_ERROR, str(error))
        self._runtime.next_restore()
        self._app.reconnect()
        try:
            if settings.after_restore_path:
                self._app.notify(settings.after_restore_path)
        except AppError as error:
            return self._fail("/restore/error", AFTER_RESTORE_ERROR, str(error))
        return self._app.wait_ready()

    def serve_one(self) -> None:
        """Wait for one invocation and answer it."""
        request_id, event = self._runtime.next_invocation()
        if not self._ready:
            self._ready = self._app.wait_ready()
        try:
            request = apigw.http_request(event)
        except SimulationError as error:
            _log(str(error))
            self._runtime.report(f"/invocation/{request_id}/error", UNSUPPORTED_EVENT_ERROR, str(error))
            return
        if _is_hook_path(request.target, self._settings.hook_paths):
            self._refuse(request_id, 403, "this path is for the adapter alone")
            return
        try:
            answer = self._app.forward(request)
        except AppError as error:
            _log(str(error))
            self._refuse(request_id, 502, "the app cannot be reached")
            return
        with answer:
            self._pass_on(request_id, answer)

    def _pass_on(self, request_id: str, answer: requests.Response) -> None:
        cookies = answer.raw.headers.getlist("set-cookie")
        headers = [item for item in answer.raw.headers.items() if item[0].lower() != "set-cookie"]
        try:
            if self._settings.streaming:
                prelude = apigw.response_prelude(answer.status_code, headers, cookies)
                self._runtime.respond_streaming(request_id, _streamed(prelude, answer))
                return
            body = b"".join(_body(answer))
        except AppError as error:
            _log(str(error))
            if self._settings.streaming:
                # Its start is out already: the connection was cut, and this says why.
                self._runtime.report(f"/invocation/{request_id}/error", STREAM_ERROR, str(error))
            else:
                self._refuse(request_id, 502, "the app broke off its answer")
            return
        self._runtime.respond(request_id, apigw.buffered_response(answer.status_code, headers, cookies, body))

    def _refuse(self, request_id: str, status: int, message: str) -> None:
        headers = [("content-type", "application/json")]
        body = json.dumps({"message": message}).encode()
        if self._settings.streaming:
            pieces = iter([apigw.response_prelude(status, headers, ()), body])
            self._runtime.respond_streaming(request_id, pieces)
        else:
            self._runtime.respond(request_id, apigw.buffered_response(status, headers, (), body))

    def _fail(self, path: str, error_type: str, message: str) -> bool:
        _log(f"{error_type}: {message}")
        self._runtime.report(path, error_type, message)
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the adapter until the Runtime API has gone; return the exit status."""
    parser = argparse.ArgumentParser(prog="snapext.simulator.adapter", description="a small Lambda web adapter")
    parser.add_argument("--generation", choices=("1.0", "1.1"), required=True)
    parser.add_argument("--name", required=True, help="the extension's file name")
    parser.add_argument(
        "--before-checkpoint-readiness",
        action="store_true",
        help="check readiness once more before the BEFORE_CHECKPOINT request, as later releases do",
    )
    options = parser.parse_args(arguments)
    try:
        adapter = Adapter(read_settings(os.environ))
        adapter.register(options.name)
        if options.generation == "1.0":
            adapter.start_1_0()
        elif not adapter.start_1_1(before_checkpoint_readiness=options.before_checkpoint_readiness):
            return 1
        while True:
            adapter.serve_one()
    except RuntimeApiGoneError:
        return 0
    except ConfigError as error:
        _log(str(error))
        return 2
    except LambdaApiError as error:
        _log(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _ask_for_event(runtime_api: str, identifier: str) -> None:
    try:
        RuntimeApi(runtime_api).next_event(identifier)
    except RuntimeApiGoneError:
        pass
    except LambdaApiError as error:
        _log(str(error))


def _is_hook_path(target: str, hook_paths: frozenset[str]) -> bool:
    """Tell whether the app would see one of its SnapStart paths, however the client has spelt it."""
    return _plain(unquote(target.partition("?")[0])) in {_plain(path) for path in hook_paths}


def _plain(path: str) -> str:
    """Resolve dots and doubled slashes; normpath alone leaves two slashes at the start as they are."""
    return posixpath.normpath("/" + path.lstrip("/"))


def _streamed(prelude: bytes, answer: requests.Response) -> Iterator[bytes]:
    yield prelude
    yield from _body(answer)


def _body(answer: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives and as it was sent, compressed or not.

    Raises:
        AppError: the app broke it off.
    """
    try:
        while piece := answer.raw.read1(CHUNK_BYTES, decode_content=False):
            yield piece
    except (HTTPError, OSError) as error:
        msg = f"the app broke off its answer: {error}"
        raise AppError(msg) from error


def _log(message: str) -> None:
    sys.stderr.write(f"web-adapter: {' '.join(message.split())}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
