"""A small stand-in for the AWS Lambda Web Adapter, run as a process of its own.

    python -m snapext_tools.simulator.adapter --generation 1.0|unchecked|1.1 [--before-checkpoint-readiness] --name NAME

It is an extension that acts as the runtime: it registers, waits until the app answers its readiness check, and then
turns invocations into HTTP requests. The generations differ in how they cross the snapshot boundary: 1.0 never asks
for `restore/next`; 1.1 asks for it itself when the function uses SnapStart, and checks readiness again after the
restore; `unchecked` is a version before 1.1 built on a newer runtime library, which asks for `restore/next` itself: it
makes no check after the restore, so nothing can hold it there.

Exit status: 0 when the Runtime API is gone, 1 when a phase failed, 2 for usage and configuration.
"""

from __future__ import annotations

import argparse
import json
import os
import posixpath
import sys
import threading
from collections.abc import Iterable, Sequence
from itertools import chain
from urllib.parse import unquote

import requests

from snapext.errors import ConfigError
from snapext_tools.simulator import apigw
from snapext_tools.simulator._lwa_app import App, AppError, body_of, log
from snapext_tools.simulator._lwa_runtime_api import Payload, RuntimeApi, RuntimeApiGoneError
from snapext_tools.simulator._lwa_settings import ENV_READINESS_TIMEOUT, AdapterSettings, read_settings
from snapext_tools.simulator.apigw import HttpRequest
from snapext_tools.simulator.errors import LambdaApiError, SimulationError

HeaderPairs = Iterable[tuple[str, str]]

ASYNC_INIT_TIMEOUT_S = 9.8

BEFORE_SNAPSHOT_ERROR = "Runtime.BeforeSnapshotError"
AFTER_RESTORE_ERROR = "Runtime.AfterRestoreError"
UNSUPPORTED_EVENT_ERROR = "Runtime.UnsupportedEvent"
STREAM_ERROR = "Runtime.StreamError"


class StandIn:
    """The adapter's life from registration on: phases in order, then one invocation after another."""

    def __init__(self, settings: AdapterSettings) -> None:
        self._settings = settings
        self._runtime = RuntimeApi(settings.runtime_api)
        self._app = App(settings)
        self._ready = False

    def register(self, name: str) -> None:
        """Register, and ask for the first event in the background: the platform never sends one."""
        identifier = self._runtime.register(name)
        threading.Thread(target=self._ask_for_event, args=(identifier,), daemon=True).start()

    def start_1_0(self) -> None:
        """Become ready as releases before 1.1 do: with the readiness check and nothing else."""
        self._ready = self._app.wait_ready(ASYNC_INIT_TIMEOUT_S if self._settings.async_init else None)

    def start_unchecked(self) -> None:
        """Become ready as 1.0 does, and let the runtime library ask for the restore."""
        self.start_1_0()
        if self._settings.snap_start:
            self._runtime.next_restore()

    def start_1_1(self, *, before_checkpoint_readiness: bool) -> bool:
        """Become ready as releases from 1.1 do; False when the app was not ready in time, or a phase failed."""
        settings = self._settings
        if settings.async_init and settings.snap_start:
            log("AWS_LWA_ASYNC_INIT is ignored under SnapStart")
        if settings.async_init and not settings.snap_start:
            self._ready = self._app.wait_ready(ASYNC_INIT_TIMEOUT_S)
            return True
        try:
            self._check("initialization")
        except AppError as error:
            log(str(error))  # it reports nothing else, and the process ends
            return False
        self._ready = True
        return not settings.snap_start or self._cross(before_checkpoint_readiness=before_checkpoint_readiness)

    def _cross(self, *, before_checkpoint_readiness: bool) -> bool:
        """Cross the boundary; False when a phase failed and was reported."""
        settings = self._settings
        try:
            if settings.before_checkpoint_path:
                if before_checkpoint_readiness:
                    self._check("the before-checkpoint POST")
                self._app.notify(settings.before_checkpoint_path)
        except AppError as error:
            return self._fail("/init/error", BEFORE_SNAPSHOT_ERROR, str(error))
        self._runtime.next_restore()
        self._app.reconnect()
        try:
            if settings.after_restore_path:
                self._app.notify(settings.after_restore_path)
            self._check("the restore")
        except AppError as error:
            return self._fail("/restore/error", AFTER_RESTORE_ERROR, str(error))
        return True

    def _check(self, what: str) -> None:
        """Wait until the app is ready. Raises AppError if it is not ready within the configured time."""
        timeout_s = self._settings.readiness_timeout_s
        if not self._app.wait_ready(timeout_s):
            msg = f"the app is not ready after {timeout_s:g} s ({ENV_READINESS_TIMEOUT}), which fails {what}"
            raise AppError(msg)

    def serve_one(self) -> None:
        """Wait for one invocation and answer it."""
        request_id, payload = self._runtime.next_invocation()
        if not self._ready:
            self._ready = self._app.wait_ready()
        try:
            request, is_http = self._request_for(payload)
        except SimulationError as error:
            log(str(error))
            self._runtime.report(f"/invocation/{request_id}/error", UNSUPPORTED_EVENT_ERROR, str(error))
            return
        if _is_hook_path(request.target, self._settings.hook_paths):
            self._refuse(request_id, 403, "this path is for the adapter alone")
            return
        try:
            answer = self._app.forward(request)
        except AppError as error:
            log(str(error))
            self._refuse(request_id, 502, "the app cannot be reached")
            return
        with answer:
            if is_http or self._settings.streaming:
                self._pass_on(request_id, answer)
            else:
                self._pass_back(request_id, request.target, answer)

    def _request_for(self, payload: bytes) -> tuple[HttpRequest, bool]:
        """The request for an event, and whether the event was an HTTP request. Raises SimulationError."""
        try:
            event = json.loads(payload)
        except ValueError as error:
            raise SimulationError(f"the event is not JSON: {error}") from error
        if apigw.is_http_event(event):
            return apigw.http_request(event), True
        headers = {"content-type": "application/json"}
        return HttpRequest("POST", self._settings.pass_through_path, headers, payload.strip()), False

    def _pass_back(self, request_id: str, target: str, answer: requests.Response) -> None:
        """Pass back the answer to an event that was not HTTP. The real adapter logs none of this."""
        try:
            body = b"".join(body_of(answer))
        except AppError as error:
            log(str(error))
            self._runtime.report(f"/invocation/{request_id}/error", STREAM_ERROR, str(error))
            return
        if answer.status_code >= 400:
            log(f"POST {target} on the app answered {answer.status_code}; the invocation still succeeds")
        payload = apigw.pass_through_answer(answer.raw.headers.items(), body)
        if payload is None:
            log(f"the answer of POST {target} on the app is not JSON: the invocation's answer is null")
        self._runtime.respond(request_id, payload or b"null")

    def _pass_on(self, request_id: str, answer: requests.Response) -> None:
        cookies = answer.raw.headers.getlist("set-cookie")
        headers = [item for item in answer.raw.headers.items() if item[0].lower() != "set-cookie"]
        try:
            self._respond(request_id, answer.status_code, headers, cookies, body_of(answer))
        except AppError as error:
            log(str(error))
            if self._settings.streaming:
                # The start of the answer is sent already: the connection was cut, and this says why.
                self._runtime.report(f"/invocation/{request_id}/error", STREAM_ERROR, str(error))
            else:
                self._refuse(request_id, 502, "the app broke off its answer")

    def _refuse(self, request_id: str, status: int, message: str) -> None:
        body = json.dumps({"message": message}).encode()
        self._respond(request_id, status, [("content-type", "application/json")], (), [body])

    def _respond(
        self, request_id: str, status: int, headers: HeaderPairs, cookies: Iterable[str], body: Iterable[bytes]
    ) -> None:
        payload: Payload
        if self._settings.streaming:
            payload = chain([apigw.response_prelude(status, headers, cookies)], body)
        else:
            payload = apigw.buffered_response(status, headers, cookies, b"".join(body))
        self._runtime.respond(request_id, payload)

    def _ask_for_event(self, identifier: str) -> None:
        try:
            self._runtime.next_event(identifier)
        except RuntimeApiGoneError:
            pass
        except LambdaApiError as error:
            log(str(error))

    def _fail(self, path: str, error_type: str, message: str) -> bool:
        log(f"{error_type}: {message}")
        self._runtime.report(path, error_type, message)
        return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the adapter until the Runtime API is gone; return the exit status."""
    parser = argparse.ArgumentParser(prog="snapext_tools.simulator.adapter", description="a small Lambda web adapter")
    parser.add_argument("--generation", choices=("1.0", "unchecked", "1.1"), required=True)
    parser.add_argument("--name", required=True, help="the extension's file name")
    parser.add_argument(
        "--before-checkpoint-readiness",
        action="store_true",
        help="check readiness once more before the BEFORE_CHECKPOINT request, as later releases do",
    )
    options = parser.parse_args(arguments)
    try:
        adapter = StandIn(read_settings(os.environ))
        adapter.register(options.name)
        if options.generation == "1.0":
            adapter.start_1_0()
        elif options.generation == "unchecked":
            adapter.start_unchecked()
        elif not adapter.start_1_1(before_checkpoint_readiness=options.before_checkpoint_readiness):
            return 1
        while True:
            adapter.serve_one()
    except RuntimeApiGoneError:
        return 0
    except (ConfigError, LambdaApiError) as error:
        log(str(error))
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return 130


def _is_hook_path(target: str, hook_paths: frozenset[str]) -> bool:
    """Whether the app would see one of its SnapStart paths, however the client spelt it."""
    return _plain(unquote(target.partition("?")[0])) in {_plain(path) for path in hook_paths}


def _plain(path: str) -> str:
    """Resolve dots and doubled slashes; normpath alone keeps two slashes at the start."""
    return posixpath.normpath("/" + path.lstrip("/"))


if __name__ == "__main__":
    sys.exit(main())
