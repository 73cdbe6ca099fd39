"""What every test here may ask for by name: the servers, and a boundary."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest
import servers

import snapext
from snapext.guest import notice
from snapext.hooks import around, loops, registry, runner
from snapext.integrations import frame, patience, table


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    with servers.postgres() as server:
        yield server


@pytest.fixture
def blocked(postgres: servers.Postgres) -> Iterator[servers.Blocked]:
    with postgres.blocked() as blocked:
        yield blocked


@pytest.fixture(scope="session")
def mariadb() -> Iterator[servers.MariaDB]:
    with servers.mariadb() as server:
        yield server


class Boundary:
    """The two phases of this process, as the link's thread runs them. `lines` is what was said on standard error."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def before(self) -> list[str]:
        """The names of the hooks that ran."""
        return self._run(around.before_snapshot(10_000, lambda _: None))

    def after(self) -> list[str]:
        return self._run(around.after_restore("0" * 32, 10_000, lambda _: None))

    def _run(self, phase: runner.Phase) -> list[str]:
        outcome = runner.run(phase)
        assert outcome.error is None, outcome.error
        return [timing.name for timing in outcome.hooks]


@pytest.fixture
def boundary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Boundary]:
    """A process without hooks and without integrations."""
    found = Boundary()
    monkeypatch.setattr(notice, "_say", lambda line: found.lines.append(line) or True)
    monkeypatch.setattr(notice, "_said", set())
    monkeypatch.setattr(registry, "when_registered", lambda: None)
    monkeypatch.setattr(table, "attended", set())
    monkeypatch.setattr(frame, "_wanted", set())
    monkeypatch.setattr(loops, "_bound", None)
    monkeypatch.setattr(patience, "WAIT_S", 0.1)
    for entry in table.TABLE:
        for value in list(vars(sys.modules.get(entry.module, object)).values()):
            if isinstance(value, frame.Integration):
                value.__init__(entry.module)  # as in a process that has only just imported it
    gc.collect()
    _forget_hooks()
    yield found
    _forget_hooks()


def _forget_hooks() -> None:
    snapext.get_before_snapshot().clear()
    snapext.get_after_restore().clear()
