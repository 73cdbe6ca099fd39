"""The wall clock under `snapext simulate`: that plays a restore, and may not set the machine's clock.

A file of 8 bytes, a double, holds the seconds by which Lambda would have set it. Its name is in ENV, as long as such a
life goes on; anywhere else there is none, and nothing is read.
"""

from __future__ import annotations

from time import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENV = "_SNAPEXT_SIMULATED_CLOCK"


def wall_clock(environ: Mapping[str, str]) -> Callable[[], float] | None:
    """The clock to read instead of the machine's, or None: there is no such life. Never raises."""
    path = environ.get(ENV)
    if not path:
        return None
    import mmap
    from struct import unpack

    try:
        with open(path, "rb") as file:
            seconds = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # that life is over
        return None
    return lambda: time() + float(unpack("d", seconds[:8])[0])
