"""As much of HTTP/1.1 as the extension needs, as bytes in and values out. No I/O.

`http.client` would do it too, and take longer to import than the extension takes to start: the platform does not start
the user's runtime before the extension has registered, so that time is added to every cold start.
"""

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024


class HttpError(Exception):
    """What the peer sent is not HTTP as we read it.

    Not a SnapextError: `import snapext.errors` executes eight modules of the package `snapext`, and this module is
    imported before the extension has registered.
    """


class Response:
    """A response: `status`, `headers` (names in lower case) and `body`."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def request_bytes(method: str, host: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request. A body's length is given for every method but GET."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def parse_response(data: bytes, *, ended: bool) -> Response | None:
    """The response that `data` holds, or None while it is incomplete. `ended`: the peer has closed its side.

    Raises HttpError when it is malformed, too large, or cut off.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        if ended or len(data) > MAX_HEAD_BYTES:
            raise HttpError("the response is cut off" if ended else "the head of the response is too long")
        return None
    status_line, *header_lines = head.decode("latin-1").split("\r\n")
    status, headers = _status(status_line), _headers(header_lines)
    if len(rest) > MAX_BODY_BYTES:
        raise HttpError("the response is too long")
    body = _body(status, headers, rest, ended)
    return None if body is None else Response(status, headers, body)


def is_ok(data: bytes) -> bool:
    """Whether `data` holds the whole head of a response with status 200: the short way where no more counts."""
    return data.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")) and data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES) > 0


def parse_status(data: bytes) -> int | None:
    """The status of the response that begins with `data`, or None while its first line is incomplete."""
    line, separator, _ = data.partition(b"\r\n")
    if not separator:
        if len(data) > MAX_HEAD_BYTES:
            raise HttpError("the first line of the response is too long")
        return None
    return _status(line.decode("latin-1"))


def parse_request_head(data: bytes) -> tuple[str, dict[str, str], bytes] | None:
    """The request line, the headers and what follows the head; None while the head is incomplete.

    Raises HttpError when it is malformed or too long.
    """
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        if len(data) > MAX_HEAD_BYTES:
            raise HttpError("the head of the request is too long")
        return None
    request_line, *header_lines = head.decode("latin-1").split("\r\n")
    if len(request_line.split(" ")) != 3 or not request_line.rsplit(" ", 1)[1].startswith("HTTP/1."):
        raise HttpError("the request line is not one of HTTP/1")
    return request_line, _headers(header_lines), rest


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 9


def _status(line: str) -> int:
    parts = line.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not _is_number(parts[1]) or len(parts[1]) != 3:
        raise HttpError(f"not a status line: {line[:80]!r}")
    return int(parts[1])


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator:
            raise HttpError(f"not a header: {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    return headers


def _body(status: int, headers: dict[str, str], rest: bytes, ended: bool) -> bytes | None:
    if status in (204, 304) or status < 200:
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = _dechunked(rest)
    elif "content-length" in headers:
        length = headers["content-length"]
        if not _is_number(length):
            raise HttpError(f"Content-Length: {length[:20]!r}")
        body = rest[: int(length)] if len(rest) >= int(length) else None
    else:
        return rest if ended else None
    if body is None and ended:
        raise HttpError("the body of the response is cut off")
    return body


def _dechunked(rest: bytes) -> bytes | None:
    body = b""
    while True:
        size_line, separator, rest = rest.partition(b"\r\n")
        if not separator:
            return None
        digits = size_line.split(b";")[0].strip()
        if not digits or digits.strip(b"0123456789abcdefABCDEF"):
            raise HttpError(f"not a chunk size: {size_line[:20]!r}")
        size = int(digits, 16)
        if size == 0:
            return body
        if len(rest) < size + 2:
            return None
        body, rest = body + rest[:size], rest[size + 2 :]
