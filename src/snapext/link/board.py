"""Our line of the extension's board: the name of each hook is written there before it runs (snapext.wire.board).

Not by the module `mmap`: before Python 3.13 it keeps a descriptor of its own, and an app that closes all that it finds
would later have another file of its own closed with it. What is beneath `ctypes` is there for the generators already.
"""

from __future__ import annotations

import os
import stat

from snapext.guest import notice
from snapext.wire.board import LINE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GET_SEALS, _SEAL_SHRINK = 1034, 2
"""F_GET_SEALS and F_SEAL_SHRINK (fcntl(2)): a file that can become shorter could end us with SIGBUS."""
_CAN_BE_WRITTEN_AND_READ, _SHARED = 3, 1
"""PROT_READ | PROT_WRITE, and MAP_SHARED (mmap(2))."""
_FAILED = 2**64 - 1

_fcntl: Any = None
_mmap: Any = None
_text_at: Any = None
_pages: dict[tuple[int, int, int], int] = {}
"""Where each page is mapped, by its file and its place there: a file that is mapped keeps its number to itself."""


def can_write() -> bool:
    """Whether this interpreter can map a file in this way."""
    return _text_at is not None


class Line:
    """A line that is ours. text: setting its `raw` is the writing. pid: of the process that may do so."""

    __slots__ = ("pid", "text")

    def __init__(self, text: Any) -> None:
        self.text = text
        self.pid = os.getpid()

    def write(self, content: bytes) -> None:
        """What `snapext.wire.board.written` has made. A fork without Python's knowledge has it, but not for writing."""
        if os.getpid() == self.pid:
            self.text.raw = content


def line(descriptor: int, number: int) -> Line | None:
    """Map a line of the board whose descriptor has come; the caller closes that. None where something is odd.

    One page is mapped, and stays. A process that connects again has the same one; only another extension has others.
    """
    try:
        status = _check(descriptor, number)
        at, page = number * LINE_BYTES, os.sysconf("SC_PAGE_SIZE")
        key = status.st_dev, status.st_ino, at - at % page
        if key not in _pages:
            os.pwrite(descriptor, os.pread(descriptor, 1, at), at)  # it takes memory now, where a lack is an error
            _pages[key] = _mmap(at - at % page, page, descriptor)
        return Line(_text_at(_pages[key] + at % page))
    except (OSError, ValueError, ImportError) as error:
        notice.debug(f"the board is not used: {error!r}")
        return None


def _check(descriptor: int, number: int) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if not _fcntl(descriptor, _GET_SEALS) & _SEAL_SHRINK:
        raise ValueError("its size is not sealed")
    if (number + 1) * LINE_BYTES > status.st_size:
        raise ValueError(f"it has no line {number}")
    return status


def _prepare() -> None:
    global _fcntl, _mmap, _text_at
    import _ctypes as native
    import fcntl  # now: an app may close all descriptors once it is connected, and take the number of a file half read

    pointer = type("Pointer", (native._SimpleCData,), {"_type_": "P"})
    number = type("Number", (native._SimpleCData,), {"_type_": "l"})
    character = type("Character", (native._SimpleCData,), {"_type_": "c"})
    kind = type("Function", (native.CFuncPtr,), {"_flags_": native.FUNCFLAG_CDECL, "_restype_": pointer})
    program = native.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]  # it takes None, as dlopen(3) does
    call: Any = kind(native.dlsym(program, "mmap"))
    nowhere: Any = pointer(None)

    def mmap(offset: int, length: int, descriptor: int) -> int:
        wide: Any = number
        address = call(nowhere, wide(length), _CAN_BE_WRITTEN_AND_READ, _SHARED, descriptor, wide(offset))
        if address in (None, _FAILED):
            raise OSError("it cannot be mapped")
        return int(address)

    text: Any = type("Line", (native.Array,), {"_type_": character, "_length_": LINE_BYTES})
    _fcntl, _mmap, _text_at = fcntl.fcntl, mmap, text.from_address


try:
    _prepare()
except (ImportError, AttributeError, OSError, TypeError) as error:  # a Python without it, or another one
    notice.debug(f"no board can be written: {error!r}")
