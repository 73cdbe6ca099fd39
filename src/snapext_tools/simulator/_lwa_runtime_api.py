"""The web adapter's client of the Lambda Runtime and Extensions APIs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import requests
from requests.adapters import HTTPAdapter

from snapext_tools.simulator.apigw import STREAMING_CONTENT_TYPE
from snapext_tools.simulator.errors import LambdaApiError

Payload = bytes | Iterator[bytes]

_RUNTIME = "/2018-06-01/runtime"
_EXTENSION = "/2020-01-01/extension"


class RuntimeApiGoneError(Exception):
    """The Runtime API no longer answers: the environment is over."""


class RuntimeApi:
    """The adapter's calls of the Runtime and Extensions APIs; each waits as long as it takes."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"
        self._transport = HTTPAdapter()

    def register(self, name: str) -> str:
        """Register as the extension `name` for no events; return the identifier that the platform gave."""
        headers, path = {"Lambda-Extension-Name": name}, f"{_EXTENSION}/register"
        answer = self._call("POST", path, headers, b'{"events": []}')
        return str(answer.headers["Lambda-Extension-Identifier"])

    def next_event(self, identifier: str) -> None:
        """Ask for the next extension event: the platform waits for this call before it ends init."""
        self._call("GET", f"{_EXTENSION}/event/next", {"Lambda-Extension-Identifier": identifier})

    def next_invocation(self) -> tuple[str, bytes]:
        """Return the next invocation's request id and its event, as it was sent."""
        answer = self._call("GET", f"{_RUNTIME}/invocation/next")
        return answer.headers["Lambda-Runtime-Aws-Request-Id"], answer.content

    def next_restore(self) -> None:
        """Return when the environment has been restored: the snapshot is taken inside this call."""
        self._call("GET", f"{_RUNTIME}/restore/next")

    def respond(self, request_id: str, payload: Payload) -> None:
        """Answer an invocation: bytes at once, an iterator piece by piece, each piece as soon as it is there."""
        headers = {"Content-Type": "application/json"}
        if not isinstance(payload, bytes):
            headers = {"Lambda-Runtime-Function-Response-Mode": "streaming", "Content-Type": STREAMING_CONTENT_TYPE}
        self._call("POST", f"{_RUNTIME}/invocation/{request_id}/response", headers, payload)

    def report(self, path: str, error_type: str, message: str) -> None:
        """Report an error to `path`, below the Runtime API's own path."""
        body = {"errorMessage": message, "errorType": error_type, "stackTrace": []}
        headers = {"Lambda-Runtime-Function-Error-Type": error_type, "Content-Type": "application/json"}
        self._call("POST", _RUNTIME + path, headers, json.dumps(body).encode())

    def _call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: Payload | None = None
    ) -> requests.Response:
        try:
            request = requests.Request(method, self._url + path, headers, data=body).prepare()
            answer = self._transport.send(request)
            answer.content  # noqa: B018 - read it here, where a broken connection is handled
        except requests.RequestException as error:
            raise RuntimeApiGoneError(str(error)) from error
        if not answer.ok:
            raise LambdaApiError(f"{method} {path}", answer.status_code, answer.text)
        return answer
