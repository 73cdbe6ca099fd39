"""As much of HTTP/1.1 as the extension reads and writes."""

import pytest

from helpers import for_each
from snapext_extension.platform.http1 import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    HttpError,
    is_ok,
    parse_request_head,
    parse_response,
    parse_status,
    request_bytes,
)

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Id:  abc \r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nhel\r\nA;x=y\r\nlo, world!\r\n0\r\n\r\n"
UNTIL_END = b"HTTP/1.0 200 OK\r\n\r\nhello"


def parsed(data, *, ended=False):
    response = parse_response(data, ended=ended)
    return response and (response.status, response.body)


def test_a_request_has_its_length_unless_it_is_a_get():
    """The platform gets a well-formed request, header by header."""
    assert request_bytes("GET", "h:1", "/p", {"A": "b"}) == b"GET /p HTTP/1.1\r\nHost: h:1\r\nA: b\r\n\r\n"
    assert request_bytes("POST", "h", "/p", {}, b"hi") == b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


@pytest.mark.parametrize(("data", "body"), [(PLAIN, b"hello"), (CHUNKED, b"hello, world!")], ids=["plain", "chunked"])
def test_a_response_is_complete_at_its_last_byte_and_not_before(data, body):
    """However it is cut, and whatever follows it."""
    last = data.rindex(b"0\r\n") + 3 if data is CHUNKED else len(data)

    assert [None] * (last - 1) == [parsed(data[:i]) for i in range(1, last)]
    assert (200, body) == parsed(data) == parsed(data + b"trailing", ended=True)


def test_headers_are_found_under_their_lower_case_name():
    """Names are case-insensitive, and the space around a value is not part of it."""
    assert parse_response(PLAIN, ended=False).headers["x-id"] == "abc"


def test_a_body_without_a_length_ends_with_the_connection():
    """That is how HTTP/1.0 ends one."""
    assert None is parsed(UNTIL_END)
    assert parsed(UNTIL_END, ended=True) == (200, b"hello")


@pytest.mark.parametrize("status", [204, 304])
def test_a_response_without_a_body_does_not_wait_for_one(status):
    """These statuses have no body, whatever their headers say."""
    assert (status, b"") == parsed(b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status)


MALFORMED = {
    "no http": b"SSH-2.0-OpenSSH\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "short status": b"HTTP/1.1 20 OK\r\n\r\n",
    "long status": b"HTTP/1.1 2000 OK\r\n\r\n",
    "word for a status": b"HTTP/1.1 abc OK\r\n\r\n",
    "superscript status": b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
    "no header": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "word for a length": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "superscript length": b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
    "huge length": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    "no chunk size": CHUNKED.replace(b"3\r\nhel", b"x\r\nhel"),
    "empty chunk size": CHUNKED.replace(b"3\r\nhel", b"\r\nhel"),
    "negative chunk size": CHUNKED.replace(b"3\r\nhel", b"-3\r\nhel"),
    "python's chunk size": CHUNKED.replace(b"3\r\nhel", b"0x3\r\nhel"),
    "large body": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 1),
    "endless head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES,
}


@for_each("data", MALFORMED.values())
@for_each("ended", [False, True])
def test_what_is_no_response_is_an_error_of_its_own(data, ended):
    """Nothing but HttpError comes out, so that one handler is enough."""
    with pytest.raises(HttpError):
        parse_response(data, ended=ended)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", PLAIN[:-1], CHUNKED[:-9]])
def test_a_response_that_is_cut_off_is_an_error(data):
    """A peer that goes away in the middle has not answered."""
    with pytest.raises(HttpError, match="cut off"):
        parse_response(data, ended=True)


@for_each("data", [b"\xff\x00" * 50, *MALFORMED.values()])
def test_no_prefix_of_anything_raises_anything_else(data):
    """Whatever arrives, however much of it, is a response, incomplete, or an HttpError."""
    for i in range(min(len(data), 200)):
        for ended in (False, True):
            try:
                parse_response(data[:i], ended=ended)
                parse_status(data[:i])
                parse_request_head(data[:i])
            except HttpError:
                continue


def test_a_status_is_known_after_the_first_line():
    """A probe need not wait for the rest."""
    line = b"HTTP/1.1 503 Busy\r\n"

    assert [None] * (len(line) - 1) == [parse_status(line[:i]) for i in range(1, len(line))]
    assert 503 == parse_status(line) == parse_status(line + b"garbage\x00")


@pytest.mark.parametrize(
    "data", [b"220 ftp ready\r\n", b"HTTP/1.1 \xb2\xb2\xb2\r\n", b"x" * (MAX_HEAD_BYTES + 1), b"\r\n"], ids=ascii
)
def test_a_first_line_that_is_no_status_is_an_error(data):
    """Somebody else listens on the app's port, or speaks without end."""
    with pytest.raises(HttpError):
        parse_status(data)


def test_a_request_head_is_complete_at_its_empty_line():
    """What follows it belongs to the next request."""
    head = b"GET /ready HTTP/1.1\r\nHost: x\r\nCONNECTION: Close\r\n\r\n"

    assert [None] * (len(head) - 1) == [parse_request_head(head[:i]) for i in range(1, len(head))]
    assert parse_request_head(head + b"next") == ("GET /ready HTTP/1.1", {"host": "x", "connection": "Close"}, b"next")


@for_each(
    "data",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"GET / x HTTP/1.1\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET /" + b"x" * MAX_HEAD_BYTES,
    ],
)
def test_what_is_no_request_is_an_error(data):
    """A TLS greeting, another protocol, or a head without end."""
    with pytest.raises(HttpError):
        parse_request_head(data)


def test_the_short_way_takes_a_whole_head_with_status_200_alone():
    """What comes behind the head does not count; anything else is for the parser."""
    good = (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n{}", b"HTTP/1.1 200 \r\n\r\n")
    assert [head for head in good if not is_ok(head)] == []
    bad = (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 403 200 \r\n\r\n",
        b"\r\n\r\nHTTP/1.1 200 ",
    )
    assert [head for head in bad if is_ok(head)] == []
    assert not is_ok(b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_HEAD_BYTES + b"\r\n\r\n")
