"""Descriptors 0 to 2 belong to the app, even if it has closed them: what it prints must not reach a socket of ours."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    S = TypeVar("S")
    File = tuple[int, int]
    """A file's device and number."""

FIRST_FREE = 3


def above_standard(descriptor: int) -> int:
    """The same open file at a number above 2: `descriptor` itself, or a copy, and then `descriptor` is closed."""
    if descriptor >= FIRST_FREE:
        return descriptor
    import fcntl  # nearly nobody needs it

    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE)
    finally:
        os.close(descriptor)


def socket_above_standard(make: Callable[..., S], family: int, kind: int) -> S:
    """A new socket at a number above 2. make: `socket.socket`, or the one beneath it in `_socket`."""
    made = make(family, kind)
    if made.fileno() >= FIRST_FREE:  # type: ignore[attr-defined]
        return made
    return make(family, kind, 0, above_standard(made.detach()))  # type: ignore[attr-defined]


def occupy_standard() -> list[int]:
    """Fill what is free below 3 before something opens descriptors of its own; give the result to `vacate`.

    Raises OSError, and fills nothing, where no descriptor is left.
    """
    taken: list[int] = []
    if all(map(_is_open, range(FIRST_FREE))):
        return taken  # without a descriptor for a moment: an app that closes all could have its number by then
    try:
        while (descriptor := os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)) < FIRST_FREE:
            taken.append(descriptor)
        os.close(descriptor)
    except OSError:
        vacate(taken)
        raise
    return taken


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def received(descriptor: int) -> File | None:
    """The file of a descriptor that has come just now; None where the app has a socket of its own there by then."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return None if stat.S_ISSOCK(status.st_mode) else (status.st_dev, status.st_ino)


def close_received(descriptor: int, file: File | None) -> None:
    """Close it if it still is that file: an app that has closed all descriptors may have one of its own there."""
    if file is not None and received(descriptor) == file:
        os.close(descriptor)


def vacate(taken: list[int]) -> None:
    for descriptor in taken:
        if not os.get_inheritable(descriptor):  # what the app itself has put there meanwhile is inheritable
            os.close(descriptor)
