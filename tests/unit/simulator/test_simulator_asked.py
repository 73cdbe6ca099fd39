"""The options of `snapext simulate` become requests and events, as curl's options do."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from helpers import for_each
from snapext_tools.cli.asked import FORM, parse_asked
from snapext_tools.simulator.plan import Event, Request

R, D, H, E = "requests", "data", "headers", "events"


def one(*given: tuple[str, str]) -> Request:
    (request,) = parse_asked(given)
    assert isinstance(request, Request)
    return request


@pytest.mark.parametrize(
    ("value", "method", "path"),
    [
        ("GET /", "GET", "/"),
        ("PUT  /a?b=c", "PUT", "/a?b=c"),
        ("/health", "GET", "/health"),
        (" DELETE /x ", "DELETE", "/x"),
    ],
)
def test_a_request_is_a_method_and_a_path_or_the_path_alone(value: str, method: str, path: str) -> None:
    """Alone it is a GET."""
    assert one((R, value)) == Request(method, path, {}, b"")


@for_each("value", ["GET", "FETCH /", "GET / HTTP/1.1", "get /", "", "health", "GET health"])
def test_what_is_neither_is_refused(value: str) -> None:
    """By name."""
    with pytest.raises(click.BadParameter, match="is not a method and a path, such as 'GET /health'"):
        parse_asked([(R, value)])


def test_a_body_makes_a_path_a_post_and_a_form() -> None:
    """Several pieces are joined, and an explicit method stays."""
    assert one((R, "/x"), (D, "a=1"), (D, "b=2")) == Request("POST", "/x", {"content-type": FORM}, b"a=1&b=2")
    assert one((R, "PUT /x"), (D, "ž")).body == "ž".encode()
    assert one((R, "PUT /x"), (D, "ž")).method == "PUT"
    assert one((R, "/x"), (D, "")) == Request("POST", "/x", {"content-type": FORM}, b"")


def test_a_body_out_of_a_file_loses_its_line_ends(tmp_path: Path) -> None:
    """As with curl's -d."""
    (tmp_path / "body").write_bytes(b'{"a":\r\n 1}\n\xff\0')

    assert one((R, "/"), (D, f"@{tmp_path}/body")).body == b'{"a": 1}\xff'


@for_each(
    "lines, headers",
    [
        (["Accept: text/html"], {"accept": "text/html"}),
        (["X-A:1", "x-a: 2"], {"x-a": "1,2"}),
        (["Cookie: a=1", "Cookie: b=2"], {"cookie": "a=1; b=2"}),
        (["X-Time: 12:30"], {"x-time": "12:30"}),
        (["X-Empty;"], {"x-empty": ""}),
        (["X-A: 1", "X-A:"], {}),
    ],
)
def test_headers_are_read_as_curl_reads_them(lines: list[str], headers: dict[str, str]) -> None:
    """Repeated headers are joined, `Name;` is sent empty, `Name:` is removed."""
    assert one((R, "/"), *((H, line) for line in lines)).headers == headers


def test_headers_may_come_out_of_a_file(tmp_path: Path) -> None:
    """One per line."""
    (tmp_path / "headers").write_text("X-A: 1\n\nX-B: 2\n")

    assert one((R, "/"), (H, f"@{tmp_path}/headers")).headers == {"x-a": "1", "x-b": "2"}


@pytest.mark.parametrize(
    ("line", "headers"),
    [("Content-Type: application/json", {"content-type": "application/json"}), ("content-type:", {})],
)
def test_the_type_of_a_body_is_a_forms_unless_it_is_said(line: str, headers: dict[str, str]) -> None:
    """Or unsaid."""
    assert one((R, "/"), (H, line), (D, "{}")).headers == headers


@pytest.mark.parametrize("line", ["no header", ": x", "", "X A: 1", ";"])
def test_what_is_no_header_is_refused(line: str) -> None:
    """By name."""
    with pytest.raises(click.BadParameter, match="is not a header, such as 'Accept: text/html'"):
        parse_asked([(R, "/"), (H, line)])


def test_body_and_headers_belong_to_the_request_before_them(tmp_path: Path) -> None:
    """Events keep their place between requests."""
    (tmp_path / "e.json").write_text('{"Records": []}')
    given = [(R, "/a"), (D, "1"), (R, "/b"), (H, "X: b"), (E, f"{tmp_path}/e.json"), (R, "/c")]

    assert parse_asked(given) == (
        Request("POST", "/a", {"content-type": FORM}, b"1"),
        Request("GET", "/b", {"x": "b"}, b""),
        Event("e.json", b'{"Records": []}'),
        Request("GET", "/c", {}, b""),
    )
    assert parse_asked([]) == ()


@pytest.mark.parametrize(("name", "option"), [(D, "-d"), (H, "-H")])
@pytest.mark.parametrize("after_event", [False, True])
def test_a_body_or_header_without_a_request_is_refused(
    tmp_path: Path, name: str, option: str, after_event: bool
) -> None:
    """An event is not a request: it is sent as it is."""
    (tmp_path / "e.json").write_text("{}")
    with pytest.raises(click.BadParameter, match="belongs to the --request before it") as raised:
        parse_asked([*([(E, f"{tmp_path}/e.json")] if after_event else []), (name, "x: 1")])
    assert raised.value.param_hint == option


def test_an_event_is_sent_byte_for_byte_and_has_to_be_json(tmp_path: Path) -> None:
    """Lambda sends a function nothing but JSON."""
    (tmp_path / "e.json").write_bytes(b"[ 1,\n2 ]\n")
    (tmp_path / "no.json").write_text("{'a': 1}")

    assert parse_asked([(E, f"{tmp_path}/e.json")]) == (Event("e.json", b"[ 1,\n2 ]\n"),)
    with pytest.raises(click.BadParameter, match=r"no\.json is not JSON"):
        parse_asked([(E, f"{tmp_path}/no.json")])


@pytest.mark.parametrize("given", [(E, "/nowhere.json"), (D, "@/nowhere"), (H, "@/nowhere")])
def test_a_file_that_cannot_be_read_is_named(given: tuple[str, str]) -> None:
    """With the reason."""
    with pytest.raises(click.BadParameter, match=r"cannot read /nowhere.*: No such file"):
        parse_asked([(R, "/"), given])


def test_a_request_becomes_an_event_of_api_gateway() -> None:
    """With its body and its headers."""
    payload = one((R, "/x?y=1"), (D, "a=1"), (H, "X-A: 1")).payload

    assert b'"rawQueryString": "y=1"' in payload
    assert b'"body": "a=1"' in payload
    assert b'"x-a": "1"' in payload
