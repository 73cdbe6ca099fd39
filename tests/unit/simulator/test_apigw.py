"""Requests become API Gateway events and answers become responses, and nothing is lost on the way."""

import json

import pytest

from helpers import for_each
from snapext_tools.simulator.apigw import (
    HttpResponse,
    buffered_response,
    http_event,
    http_request,
    parse_response,
    response_prelude,
)
from snapext_tools.simulator.errors import SimulationError

BODIES = [b"", b'{"a": 1}', "žluť".encode(), b"\xff\x00\xfe", b"\x00" * 16]


def test_an_event_splits_path_and_query():
    """A path with a query string arrives as rawPath, rawQueryString and joined parameters."""
    event = http_event("get", "/items?tag=a&tag=b&empty=")

    assert event["version"] == "2.0"
    assert event["rawPath"] == "/items"
    assert event["rawQueryString"] == "tag=a&tag=b&empty="
    assert event["queryStringParameters"] == {"tag": "a,b", "empty": ""}
    assert event["requestContext"]["http"]["method"] == "GET"


def test_an_event_carries_cookies_apart_from_headers():
    """Header names are in lower case, and the cookie header becomes the list of cookies."""
    event = http_event("GET", "/", {"X-One": "1", "Cookie": "a=1; b=2"})

    assert event["headers"]["x-one"] == "1"
    assert "cookie" not in event["headers"]
    assert event["cookies"] == ["a=1", "b=2"]


@for_each(
    "headers, body, is_base64",
    [
        ({}, b"plain", False),
        ({"content-type": "application/json; charset=utf-8"}, b"{}", False),
        ({"content-type": "application/problem+json"}, b"{}", False),
        ({"content-type": "text/plain"}, b"\xff", True),
        ({"content-type": "image/png"}, b"png", True),
        ({"content-type": "text/plain", "content-encoding": "gzip"}, b"zip", True),
    ],
)
def test_only_text_travels_as_text(headers, body, is_base64):
    """A body is base64 when its type, its encoding or its bytes say that it is not text."""
    assert http_event("POST", "/", headers, body)["isBase64Encoded"] is is_base64


@pytest.mark.parametrize("body", BODIES)
def test_a_request_survives_the_event(body):
    """The adapter sends the app what the caller asked for, byte for byte."""
    event = http_event("PUT", "/a%20b/c?x=1%2F2", {"X-One": "1", "Cookie": "a=1; b=2"}, body)

    request = http_request(json.loads(json.dumps(event)))

    assert request.method == "PUT"
    assert request.target == "/a%20b/c?x=1%2F2"
    assert request.headers == {"x-one": "1", "host": "localhost", "cookie": "a=1; b=2"}
    assert request.body == body


def test_a_decoded_path_is_encoded_again():
    """A path with characters that a request line cannot hold is quoted, and stays a path."""
    assert http_request(http_event("GET", "/ž b#c")).target == "/%C5%BE%20b%23c"


def test_headers_of_one_connection_are_not_forwarded():
    """Neither the caller's connection headers nor its content length reach the app."""
    event = http_event("POST", "/", {"Connection": "close", "Content-Length": "99", "X-One": "1"}, b"abc")

    assert set(http_request(event).headers) == {"host", "x-one"}


@pytest.mark.parametrize("event", [None, [], {}, {"requestContext": {"http": {}}}, {"Records": []}])
def test_other_events_are_refused_by_name(event):
    """An event that is no HTTP API event raises an error that says what was expected."""
    with pytest.raises(SimulationError, match=r"payload format 2\.0"):
        http_request(event)


def test_a_body_that_is_not_base64_is_refused():
    """A body marked as base64 that is not raises instead of reaching the app mangled."""
    event = http_event("POST", "/") | {"body": "***", "isBase64Encoded": True}

    with pytest.raises(SimulationError, match="base64"):
        http_request(event)


@pytest.mark.parametrize("body", BODIES)
def test_a_whole_response_survives_its_payload(body):
    """Status, headers, cookies and body of a buffered answer come back as they were."""
    headers = [
        ("Content-Type", "text/plain"),
        ("X-One", "1"),
        ("X-One", "2"),
        ("Transfer-Encoding", "chunked"),
    ]

    payload = buffered_response(201, headers, ["a=1", "b=2"], body)

    assert parse_response(payload) == HttpResponse(
        201, {"content-type": "text/plain", "x-one": "1, 2"}, body, ("a=1", "b=2")
    )


@pytest.mark.parametrize("body", BODIES)
def test_a_streamed_response_survives_its_payload(body):
    """Prelude and body of a streamed answer come back as they were, NUL bytes in the body included."""
    payload = response_prelude(200, [("Content-Type", "text/event-stream")], ["a=1"]) + body

    assert parse_response(payload) == HttpResponse(200, {"content-type": "text/event-stream"}, body, ("a=1",))


def test_lists_of_header_values_are_joined():
    """Headers that an adapter writes as lists, in either field, are read as one value each."""
    payload = json.dumps(
        {"statusCode": 200, "headers": {"A": ["1", "2"]}, "multiValueHeaders": {"B": ["3"]}, "body": None}
    ).encode()

    assert parse_response(payload) == HttpResponse(200, {"a": "1, 2", "b": "3"}, b"")


@pytest.mark.parametrize("payload", [b'{"message": "hi"}', b'"hi"', b"[1]"])
def test_json_without_a_status_code_is_the_body(payload):
    """API Gateway treats other JSON as the body of a 200."""
    assert parse_response(payload) == HttpResponse(200, {"content-type": "application/json"}, payload)


@pytest.mark.parametrize("payload", [b"", b"not json", b'{"statusCode": "abc"}'])
def test_an_answer_that_is_no_response_is_an_error(payload):
    """An answer that API Gateway would turn into a 502 raises an error that quotes it."""
    with pytest.raises(SimulationError, match="not an HTTP response"):
        parse_response(payload)
