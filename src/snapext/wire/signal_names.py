"""The two signals of the signal transport, and their names. The extension and the client both read the setting."""

from __future__ import annotations

import signal

from snapext.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ENV_SIGNALS = "SNAPEXT_SIGNALS"
ENV_TRANSPORT = "SNAPEXT_TRANSPORT"
DEFAULT = "RTMIN+4,RTMIN+5"
"""By custom they are nobody's. gunicorn and nginx start a new instance on USR2, and Node its debugger on USR1."""

PLAIN = ("USR1", "USR2", "HUP", "WINCH", "URG")
"""The others end a process by custom, or mean something to the kernel."""
ACCEPTED = f"two different signals, such as {DEFAULT} or USR1,USR2 (RTMIN+n, RTMAX-n, {', '.join(PLAIN)}), 1, or 0"


def parse(environ: Mapping[str, str]) -> tuple[int, int] | None:
    """The numbers of the signals before the snapshot and after the restore, or None where they are not wanted.

    Raises ConfigError.
    """
    value = environ.get(ENV_SIGNALS, "0")
    if value == "0":
        return None
    names = (DEFAULT if value == "1" else value).split(",")
    match [_number(name.strip()) for name in names]:
        case [int(before), int(after)] if before != after:
            return before, after
    raise ConfigError(ENV_SIGNALS, value, ACCEPTED)


def name(number: int) -> str:
    """`RTMIN+4`, `USR1`: as SNAPEXT_SIGNALS writes it."""
    if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
        return f"RTMIN+{number - signal.SIGRTMIN}"
    return signal.Signals(number).name.removeprefix("SIG")


def _number(text: str) -> int | None:
    text = text.upper().removeprefix("SIG")
    if text in PLAIN:
        return int(getattr(signal, f"SIG{text}"))
    for base, sign in (("RTMIN", "+"), ("RTMAX", "-")):
        offset = text.removeprefix(base + sign)
        if offset != text and offset.isascii() and offset.isdigit() and len(offset) <= 2:
            number = int(getattr(signal, f"SIG{base}")) + int(sign + offset)
            return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else None
    return int(getattr(signal, f"SIG{text}")) if text in ("RTMIN", "RTMAX") else None
