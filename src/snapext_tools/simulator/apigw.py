"""API Gateway's side of an invocation: HTTP requests to events, and answers back to HTTP responses.

Pure functions over the HTTP API payload format 2.0. The simulator's driver makes the events and reads the answers; the
simulated web adapter does the reverse. Bodies survive the round trip byte for byte: binary bodies travel as base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote

from snapext_tools.simulator.errors import SimulationError

STREAMING_CONTENT_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = b"\x00" * 8

_STAGE = "$default"
_TEXT_TYPES = ("text/", "application/json", "application/javascript", "application/xml")
_TEXT_SUFFIXES = ("+json", "+xml", "x-www-form-urlencoded")
# Headers of one connection: the next connection makes its own, and they are never forwarded.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~"


@dataclass(frozen=True)
class HttpResponse:
    """A response as a caller outside Lambda sees it; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True)
class HttpRequest:
    """A request as the app gets it; `target` is the encoded path with its query string."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def http_event(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> dict[str, Any]:
    """Return the API Gateway event (HTTP API, payload 2.0) for a request; `path` may carry a query string."""
    raw_path, _, query = path.partition("?")
    lowered = {name.lower(): value for name, value in (headers or {}).items()}
    lowered.setdefault("host", "localhost")
    cookies = [cookie.strip() for cookie in lowered.pop("cookie", "").split(";") if cookie.strip()]
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value

    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": _STAGE,
        "rawPath": raw_path or "/",
        "rawQueryString": query,
        "headers": lowered,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "simulated",
            "domainName": lowered["host"],
            "domainPrefix": lowered["host"].partition(".")[0],
            "http": {
                "method": method.upper(),
                "path": raw_path or "/",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": lowered.get("user-agent", "snapext"),
            },
            "requestId": "simulated",
            "routeKey": _STAGE,
            "stage": _STAGE,
            "time": "01/Jan/1970:00:00:00 +0000",
            "timeEpoch": 0,
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if parameters:
        event["queryStringParameters"] = parameters
    if body:
        event["body"], event["isBase64Encoded"] = _encode_body(body, lowered)
    return event


def is_http_event(event: Any) -> bool:
    """Tell whether an event stands for an HTTP request, in this payload format or in an older one."""
    if not isinstance(event, dict):
        return False
    context = event.get("requestContext")
    return "httpMethod" in event or (isinstance(context, dict) and ("http" in context or "elb" in context))


def http_request(event: Any) -> HttpRequest:
    """Return the request that `event` stands for.

    Raises:
        SimulationError: the event is not an API Gateway event of payload format 2.0.
    """
    try:
        method = str(event["requestContext"]["http"]["method"]).upper()
        target = quote(str(event["rawPath"]) or "/", safe=_SAFE_IN_PATH)
        body = _decode_body(event)
        headers = _forwarded(_flatten(event.get("headers") or {}).items())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"the event is not an HTTP API event of payload format 2.0: {error!r}"
        raise SimulationError(msg) from error
    # The length is that of the decoded body; what the event says may be that of the base64 text.
    headers.pop("content-length", None)
    if cookies := event.get("cookies"):
        headers["cookie"] = "; ".join(cookies)
    if query := event.get("rawQueryString"):
        target = f"{target}?{query}"
    return HttpRequest(method, target, headers, body)


def buffered_response(status: int, headers: Iterable[tuple[str, str]], cookies: Iterable[str], body: bytes) -> bytes:
    """Return the payload of a whole response: JSON, its body as text or, when it is not text, as base64."""
    forwarded = _forwarded(headers)
    text, is_base64 = _encode_body(body, forwarded)
    answer = _head(status, forwarded, cookies) | {"body": text, "isBase64Encoded": is_base64}
    return json.dumps(answer).encode()


def pass_through_answer(headers: Iterable[tuple[str, str]], body: bytes) -> bytes | None:
    """Return a function's answer to an event that is not HTTP: only the JSON that the app answered.

    None when the body is not JSON, or counts as binary: the real adapter then answers null, without a message.
    """
    text, is_base64 = _encode_body(body, _forwarded(headers))
    try:
        return None if is_base64 else json.dumps(json.loads(text)).encode()
    except ValueError:
        return None


def response_prelude(status: int, headers: Iterable[tuple[str, str]], cookies: Iterable[str]) -> bytes:
    """Return the part before the body of a streamed response, including the eight NUL bytes."""
    return json.dumps(_head(status, _forwarded(headers), cookies)).encode() + PRELUDE_END


def parse_response(payload: bytes) -> HttpResponse:
    """Return the HTTP response that API Gateway makes of a function's answer.

    Understands the buffered and the streamed format. As on API Gateway, JSON without a `statusCode` is itself the
    body of a 200.

    Raises:
        SimulationError: the payload is neither.
    """
    # JSON has no raw NUL bytes, so only a streamed response contains the separator.
    head, streamed, rest = payload.partition(PRELUDE_END)
    try:
        answer = json.loads(head)
        if not isinstance(answer, dict) or not (streamed or "statusCode" in answer):
            return HttpResponse(200, {"content-type": "application/json"}, payload)
        return HttpResponse(
            status=int(answer.get("statusCode", 200)),
            headers=_flatten((answer.get("multiValueHeaders") or {}) | (answer.get("headers") or {})),
            body=rest if streamed else _decode_body(answer),
            cookies=tuple(answer.get("cookies") or ()),
        )
    except (AttributeError, TypeError, ValueError) as error:
        msg = f"the function's answer is not an HTTP response ({error}): {payload[:200]!r}"
        raise SimulationError(msg) from error


def _head(status: int, headers: dict[str, str], cookies: Iterable[str]) -> dict[str, Any]:
    return {"statusCode": status, "headers": headers, "cookies": list(cookies)}


def _forwarded(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join repeated headers under one lower-case name, without the headers of one connection."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key not in _HOP_BY_HOP:
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _flatten(headers: Mapping[str, Any]) -> dict[str, str]:
    """Lower the names and join lists of values: several adapters write a repeated header as a list."""
    return {
        name.lower(): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in headers.items()
    }


def _encode_body(body: bytes, headers: Mapping[str, str]) -> tuple[str, bool]:
    """Return the body for JSON and whether it is base64."""
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    textual = not content_type or content_type.startswith(_TEXT_TYPES) or content_type.endswith(_TEXT_SUFFIXES)
    if textual and headers.get("content-encoding", "identity") == "identity":
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _decode_body(message: Mapping[str, Any]) -> bytes:
    body = message.get("body") or ""
    if not message.get("isBase64Encoded"):
        return str(body).encode()
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        msg = f"the body is marked as base64, but is not: {error}"
        raise ValueError(msg) from error
