"""The libraries that snapext takes care of. The order is that of the work before the snapshot.

What owns connections comes before what makes them: a session before its engine's driver, a pool before its connections.
The client looks at this table in each boundary, and the extension when SNAPEXT_INTEGRATIONS is set: it imports nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

ENV = "SNAPEXT_INTEGRATIONS"
AUTO, NONE = "auto", "none"


class Entry:
    """A library: its name in SNAPEXT_INTEGRATIONS, the module that shows that it is loaded, and our module for it."""

    __slots__ = ("library", "module", "name", "noticed")

    def __init__(self, name: str, library: str, *, noticed: bool = True) -> None:
        self.name = name
        self.library = library
        self.module = f"snapext.integrations.{name}"
        self.noticed = noticed
        """Whether a process that has loaded it, and does not take care of it, deserves a line."""

    def __str__(self) -> str:
        return self.name


TABLE: tuple[Entry, ...] = (
    Entry("opentelemetry", "opentelemetry.sdk"),
    Entry("sentry", "sentry_sdk"),
    Entry("ddtrace", "ddtrace"),
    Entry("kombu", "kombu"),
    Entry("grpc", "grpc"),
    Entry("pools", "multiprocessing", noticed=False),
    Entry("django", "django.db"),
    Entry("sqlalchemy", "sqlalchemy"),
    Entry("psycopg_pool", "psycopg_pool"),
    Entry("psycopg", "psycopg"),
    Entry("psycopg2", "psycopg2"),
    Entry("asyncpg", "asyncpg"),
    Entry("aiomysql", "aiomysql"),
    Entry("pymysql", "pymysql"),
    Entry("redis", "redis"),
    Entry("requests", "requests"),
    Entry("boto3", "botocore"),
    Entry("aioboto3", "aiobotocore"),
    Entry("urllib3", "urllib3", noticed=False),
    Entry("httpx", "httpcore"),
    Entry("aiohttp", "aiohttp"),
    Entry("pymongo", "pymongo"),
    Entry("logging", "logging.handlers", noticed=False),
)
"""One line for each library. `noticed=False` where nearly every process has the library, and few need us for it."""


def named(setting: str) -> tuple[frozenset[str], list[str]]:
    """What a setting asks for, by name, and what it says that is no name. `auto` is every library."""
    words = [word.strip().lower() for word in setting.split(",")]
    known = frozenset(entry.name for entry in TABLE)
    unknown = [word for word in words if word not in known and word not in (AUTO, NONE, "")]
    return (known if AUTO in words else known.intersection(words)), unknown


def why_unknown(unknown: list[str]) -> str:
    """One line about names that nothing is done for, with the names that may be meant."""
    said = [f"{word!r} (do you mean {near!r}?)" if (near := _near(word)) else repr(word) for word in unknown]
    return f"{ENV} names {', '.join(said)}, and snapext knows {AUTO}, {NONE} and: {', '.join(map(str, TABLE))}"


def corrected(setting: str) -> str:
    """The setting with the names that may be meant, and without those that are like none."""
    unknown = named(setting)[1]
    words = [word.strip().lower() for word in setting.split(",")]
    return ",".join(dict.fromkeys(filter(None, [_near(word) if word in unknown else word for word in words]))) or AUTO


def _near(word: str) -> str:
    """The name that is most like a word; an empty text if none is."""
    from difflib import get_close_matches  # nobody but those who have misspelt one pays for it

    return next(iter(get_close_matches(word, [*map(str, TABLE), AUTO, NONE], 1)), "")


attended: set[str] = set()
"""The libraries that this process takes care of, with all their objects or with some."""


def unattended(modules: Container[str]) -> list[str]:
    """The libraries that a process has loaded and that nobody has asked us to take care of."""
    return [entry.name for entry in TABLE if entry.noticed and entry.library in modules and entry.name not in attended]
