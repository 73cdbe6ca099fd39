"""Text of the page: what an app says stays text, and times have the unit that reads best."""

from __future__ import annotations

import html


def shown(text: object) -> str:
    """Text for HTML, also inside of an attribute in double quotes. What cannot be seen is written as an escape.

    So are the characters that change the direction of the text, and what no encoding knows.
    """
    plain = "".join(c if c.isprintable() or c in "\n\t" else _escape(c) for c in str(text))
    return html.escape(plain, quote=True)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def duration(ms: float) -> str:
    """A time for a person: three digits, and microseconds, milliseconds or seconds."""
    if ms < 0.9995:
        return f"{ms * 1000:.0f} µs"
    if ms < 999.5:
        return f"{_three_digits(ms)} ms"
    return f"{_three_digits(ms / 1000)} s" if ms < 999_500 else f"{ms / 1000:.0f} s"


def moment(ms: float) -> str:
    """A time of day of the life, to the millisecond."""
    return f"{ms / 1000:.3f} s"


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _three_digits(number: float) -> str:
    if number >= 99.95:
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 9.995 else f"{number:.2f}"
