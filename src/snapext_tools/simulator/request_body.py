"""Reading the body of an HTTP request off its connection."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_PIECE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body, as far as it arrived."""

    content: bytes
    trailers: Mapping[str, str]
    is_complete: bool


def read_body(
    stream: io.BufferedIOBase, headers: Mapping[str, str], on_first_byte: Callable[[], None] = lambda: None
) -> Body:
    """Read a body, chunked or of a given length; incomplete when the client breaks off or sends nonsense."""
    content, trailers = bytearray(), dict[str, str]()

    def read(count: int) -> bool:
        while count:
            piece = stream.read1(min(count, _PIECE_BYTES))
            if not piece:
                return False
            if not content:
                on_first_byte()
            content.extend(piece)
            count -= len(piece)
        return True

    def read_chunks() -> bool:
        while count := int(stream.readline(_PIECE_BYTES).partition(b";")[0], 16):
            if count < 0 or not read(count) or stream.readline(3) != b"\r\n":
                return False
        while (line := stream.readline(_PIECE_BYTES)) not in (b"\r\n", b"\n"):
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon:
                return False
            trailers[name.strip().lower()] = value.strip()
        return True

    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            is_complete = read_chunks()
        else:
            length = int(headers.get("content-length", "0"))
            is_complete = length >= 0 and read(length)
    except (OSError, ValueError):
        is_complete = False
    return Body(bytes(content), trailers, is_complete)
