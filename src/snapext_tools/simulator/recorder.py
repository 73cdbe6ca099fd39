"""The events in order, and the JSON document that `snapext simulate --json` makes of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT, PHASES

NOTICES = ("link_lost", "link_restored", "stranger", "without_hooks")
"""Lines of the extension's log that are not warnings, but that a person should see."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of an environment's life, `at_ms` milliseconds after its start."""

    at_ms: float
    event: str
    fields: Mapping[str, Any]

    def as_document(self) -> dict[str, Any]:
        return {"at_ms": round(self.at_ms, 3), "event": self.event, **self.fields}


@dataclass(frozen=True, slots=True)
class Trouble:
    """A failure. `seen` is what Lambda would have told the users of the function.

    at_ms: when it was seen, in ms after the start; None where only the end of the life shows it.
    """

    phase: str
    pid: int | None
    hook: str | None
    type: str
    message: str
    stack: str
    seen: str = ""
    at_ms: float | None = None

    def as_document(self) -> dict[str, Any]:
        return {
            "at_ms": None if self.at_ms is None else round(self.at_ms, 3),
            "phase": self.phase,
            "pid": self.pid,
            "hook": self.hook,
            "type": self.type,
            "message": self.message,
            "stack": self.stack,
            "seen": self.seen,
        }


def seen_by_users(phase: str, error_type: str, *, is_known: bool = True) -> str:
    """What Lambda would have told the users of the function.

    is_known: the Runtime API knows of the failure. Else the extension ends by it, and no restore fails.
    """
    if error_type == "Runtime.RestoreHookUserTimeout":
        return "each invocation that would have started this clone fails with SnapStartTimeoutException"
    if phase in ("restore", AFTER_RESTORE) and is_known:
        return "each invocation that would have started this clone fails with SnapStartException"
    if phase in ("init", BEFORE_SNAPSHOT, "restore"):  # that one: restore/next was refused
        return "no version is published: its initialisation failed, and it never serves a request"
    if phase == AFTER_RESTORE:
        return "the environment is reset; the request in it fails, or gets 503 from the middleware"
    return "the environment is reset, and the invocation in it fails"


@dataclass(frozen=True, slots=True)
class Debt:
    """After-restore hooks of one process that had not run when the runtime was ready."""

    pid: int
    name: str
    hooks: int


@dataclass(frozen=True, slots=True)
class Latecomer:
    """A process that the extension reported as too late. `after_ready`: the runtime was ready by then."""

    pid: int
    name: str
    after_ready: bool


class Recorder:
    """Collects what happens, from any thread, and passes it on to `tell` as it comes.

    hooks_run: the hooks of all processes in both phases; a signal handler counts as one.
    debts: the hooks that had not run when the runtime was ready. owners: the processes that had some to run.
    restore_told: the web adapter told of the restore, and asked for no invocation before the hooks had run.
    processes: `passed` is how many requests a middleware let pass before the hooks had run; None without one.
    latecomers: the processes that joined too late, and were alive when the runtime was ready.
    last_ms: the time of the latest event.
    """

    def __init__(self, tell: Callable[[Happening | Trouble], None]) -> None:
        self._lock = threading.RLock()
        self._tell = tell
        self.happenings: list[Happening] = []
        self.troubles: list[Trouble] = []
        self.environment_id: str | None = None
        self.restore_ms: float | None = None
        self.hooks_run = 0
        self.debts: tuple[Debt, ...] = ()
        self.owners: tuple[Debt, ...] = ()
        self.restore_told = False
        self.latecomers: list[Latecomer] = []
        self.last_ms = 0.0
        self._is_ready = False
        self._processes: dict[int, dict[str, Any]] = {}
        self._ran_after_restore: Counter[int] = Counter()
        self._gone: set[int] = set()
        self._forks: dict[int, int] = {}  # each fork, and of which process it is one

    @property
    def ok(self) -> bool:
        return not self.troubles

    @property
    def processes(self) -> list[dict[str, Any]]:
        return list(self._processes.values())

    def add(self, at_ms: float, event: str, **fields: Any) -> None:
        with self._lock:
            happening = Happening(at_ms, event, fields)
            self.happenings.append(happening)
            self.last_ms = max(self.last_ms, at_ms)
            self._tell(happening)

    def joined(
        self,
        at_ms: float,
        pid: int,
        name: str,
        hooks: Mapping[str, int],
        *,
        fork_of: int | None = None,
        passed: int | None = None,
    ) -> None:
        self.add(at_ms, "process_joined", pid=pid, name=name, hooks=dict(hooks))
        self._process(pid, name).update(name=name, hooks=dict(hooks), passed=passed, ended_at_ms=None)
        self._gone.discard(pid)
        self._forks.pop(pid, None)
        if fork_of is not None:
            self._forks[pid] = fork_of

    def joined_too_late(self, at_ms: float, pid: int, name: str, **fields: Any) -> None:
        """A process joined too late for its before-snapshot hooks.

        A fork that joins before the restore is a copy of a process that has run them.
        """
        if self._is_ready or pid not in self._forks:
            self.latecomers.append(Latecomer(pid, name, self._is_ready))
        self.add(at_ms, "warning", about="joined_too_late", pid=pid, name=name, **fields)

    def left(self, at_ms: float, pid: int, *, alive: bool) -> None:
        """A connection ended. If its process ended or executes another program, no clone contains its hooks."""
        if not alive:
            self._gone.add(pid)
            if pid in self._processes:
                self._processes[pid]["ended_at_ms"] = round(at_ms, 3)

    def started(self, pid: int, at_ms: float) -> None:
        """When a process that takes part was started, as the kernel has it."""
        if pid in self._processes:
            self._processes[pid]["started_at_ms"] = round(max(0.0, at_ms), 3)

    def signalled(self, at_ms: float, pid: int, name: str, phase: str, signal: str) -> None:
        """A process was signalled. If it connects to the socket in answer, it has also joined."""
        self.add(at_ms, "process_signalled", pid=pid, name=name, phase=phase, signal=signal)
        self._process(pid, name)

    def unconfirmed(self, at_ms: float, **fields: Any) -> None:
        """A handler that cannot report that it is done got a signal: it counts as run."""
        self.hooks_run += 1
        self.add(at_ms, "warning", about="unconfirmed", **fields)

    def ran(self, at_ms: float, phase: str, pid: int, **fields: Any) -> None:
        """A process finished a phase, with success or not."""
        count = len(fields["hooks"])
        if fields["ok"] and not count:
            # An answer too long for one message omits the list; a handler has none.
            registered = self._processes.get(pid, {}).get("hooks", {}).get(phase, 0)
            count = registered or int("signal" in fields)
        self.hooks_run += count
        if phase == AFTER_RESTORE:
            self._ran_after_restore[pid] += count
        self.add(at_ms, phase, pid=pid, **fields)

    def ready(self, at_ms: float, is_excused: Callable[[int], bool], **fields: Any) -> None:
        """The runtime is ready: hooks that have not run, in a process that is not excused, are late."""
        owed = (Debt(pid, each["name"], each["hooks"][AFTER_RESTORE]) for pid, each in list(self._processes.items()))
        self.owners = tuple(
            debt for debt in owed if debt.hooks > 0 and debt.pid not in self._gone and not is_excused(debt.pid)
        )
        left = (replace(debt, hooks=debt.hooks - self._ran_after_restore[debt.pid]) for debt in self.owners)
        self.debts = tuple(debt for debt in left if debt.hooks > 0)
        self._is_ready = True
        self.latecomers = [late for late in self.latecomers if late.pid not in self._gone]
        self.add(at_ms, "ready", **fields)

    def serves_in_forks(self, pid: int) -> bool:
        """Whether forks of a process have middlewares: a preloading master serves nothing, and may have none itself."""
        forks = [fork for fork, parent in self._forks.items() if parent == pid]
        return any(self._processes[fork]["passed"] is not None for fork in forks if fork in self._processes)

    def has_run_all(self, owner: Debt) -> bool:
        """Whether a process has run by now all that it had to run when the runtime was ready."""
        return self._ran_after_restore[owner.pid] >= owner.hooks

    def _process(self, pid: int, name: str) -> dict[str, Any]:
        """A process as the document has it."""
        new = {"hooks": dict.fromkeys(PHASES, 0), "passed": None, "started_at_ms": None, "ended_at_ms": None}
        return self._processes.setdefault(pid, {"pid": pid, "name": name, **new})

    def hooks_changed(self, pid: int, hooks: Mapping[str, int], passed: int | None = None) -> None:
        if pid in self._processes:
            self._processes[pid].update(hooks=dict(hooks), passed=passed)

    @property
    def is_off(self) -> bool:
        """Whether the extension has said that it does nothing (SNAPEXT_MODE=off)."""
        return any(each.event == "warning" and each.fields["about"] == "off" for each in list(self.happenings))

    def last_message(self, event: str) -> str | None:
        """The message of the last event of that name."""
        said = [happening.fields["message"] for happening in self.happenings if happening.event == event]
        return str(said[-1]) if said else None

    def trouble(self, trouble: Trouble, *, tell: bool = True) -> None:
        with self._lock:
            self.troubles.append(trouble)
            if tell:
                self._tell(trouble)

    def document(self, **about: Any) -> dict[str, Any]:
        """The document of the whole life, its events in order of time."""
        events = sorted(self.happenings, key=lambda happening: happening.at_ms)
        return {
            "ok": self.ok,
            **about,
            "environment_id": self.environment_id,
            "restore_ms": self.restore_ms,
            "hooks_run": self.hooks_run,
            "processes": self.processes,
            "events": [happening.as_document() for happening in events],
            "errors": [trouble.as_document() for trouble in self.troubles],
        }
