"""Documents of lives, as `snapext simulate --json` prints them, made without a life."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
ONE_AND_TWO = {"before_snapshot": 1, "after_restore": 2}
HOSTILE = "\"><img src=x onerror=alert(1)><script>hacked=1</script>'&amp;\u202e\x00\udce9</style>"


def event(at_ms: float, what: str, /, **fields: Any) -> Document:
    return {"at_ms": at_ms, "event": what, **fields}


def process(pid: int, **fields: Any) -> Document:
    times = {"started_at_ms": 500.0, "ended_at_ms": None}
    return {"pid": pid, "name": "gunicorn", "hooks": ONE_AND_TWO, **times, **fields}


def joined(at_ms: float, pid: int) -> Document:
    return event(at_ms, "process_joined", pid=pid, name="gunicorn", hooks=ONE_AND_TWO)


def ran(at_ms: float, phase: str, pid: int, *hooks: tuple[str, float], ok: bool = True, **fields: Any) -> Document:
    took = round(sum(ms for _, ms in hooks) + fields.get("failed_hook_ms", 0.0) + 0.2, 3)
    named = [{"name": name, "duration_ms": ms} for name, ms in hooks]
    return event(at_ms, phase, pid=pid, ok=ok, duration_ms=took, hooks=named, **fields)


def error(at_ms: float | None, phase: str, pid: int | None = None, hook: str | None = None, **fields: Any) -> Document:
    words = {"type": "ValueError", "message": "the pool is gone", "stack": "", "seen": ""}
    return {"at_ms": at_ms, "phase": phase, "pid": pid, "hook": hook, **words, **fields}


def document(
    events: Sequence[Document], processes: Sequence[Document] = (), errors: Sequence[Document] = (), **fields: Any
) -> Document:
    about = {"command": ["gunicorn", "app:app"], "mode": "gate", "init_type": "snap-start", "adapter": "builtin"}
    life = {"environment_id": "0" * 32, "restore_ms": None, "hooks_run": 0}
    told = {"processes": list(processes), "events": list(events), "errors": list(errors)}
    return {"ok": not errors, **about, **life, **told, **fields}


def until_restore(*pids: int) -> list[Document]:
    return [
        event(100.0, "extension_registered", name="snapext"),
        event(400.0, "runtime_started"),
        *(joined(900.0 + pid, pid) for pid in pids),
        *(ran(2000.0 + pid, "before_snapshot", pid, ("app.close", 0.1)) for pid in pids),
        event(2200.0, "snapshot", freeze_s=1.0),
        event(3200.0, "restore"),
    ]


def whole(*pids: int) -> Document:
    """All went well; two requests were served."""
    calls = [
        event(at_ms, "invoke", method="GET", path=path, status=200, ok=True, duration_ms=4.0, body='{"ok":true}')
        for at_ms, path in ((3225.0, "/"), (3230.0, "/health"))
    ]
    events = [
        *until_restore(*pids),
        *(ran(3203.0 + pid / 10, "after_restore", pid, ("app.reconnect", 2.0), ("app.token", 0.4)) for pid in pids),
        event(3213.0, "ready", duration_ms=13.0),
        *calls,
        event(3800.0, "shutdown", ok=True, duration_ms=500.0),
    ]
    return document(events, [process(pid) for pid in pids], restore_ms=13.0, hooks_run=3 * len(pids))


def hostile() -> Document:
    """Whatever an app can choose is an attack on the page: names, messages, a stack, an answer, the command."""
    events = [
        *until_restore(1, 2),
        event(3200.5, "warning", about=HOSTILE, detail=HOSTILE),
        event(3200.7, "not_linked", pid=9, name=HOSTILE, command=HOSTILE, cause=HOSTILE, remedy=None),
        ran(3203.0, "after_restore", 1, (HOSTILE, 2.0), ok=False, failed_hook=HOSTILE, failed_hook_ms=0.5),
        ran(3204.0, "after_restore", 2, (f"app.{'x' * 300}", 3.0), signal=HOSTILE),
        event(
            3220.0, "invoke", method="GET", path=f"/{HOSTILE}", status=HOSTILE, ok=False, duration_ms=4.0, body=HOSTILE
        ),
        event(3300.0, "restore_error", error_type=HOSTILE),
    ]
    stack = f"Traceback (most recent call last):\n  File {HOSTILE}\n{'long ' * 200}\n{HOSTILE}"
    said = {"type": HOSTILE, "message": f"{HOSTILE}\n{'word' * 200}", "stack": stack, "seen": HOSTILE}
    errors = [error(3203.1, "after_restore", 1, HOSTILE, **said), error(3210.0, "restore", **said)]
    processes = [process(1, name=HOSTILE), process(2, name="n" * 200)]
    command = ["/bin/</title><img src=x>", HOSTILE, "y" * 400]
    return document(events, processes, errors, command=command, environment_id=HOSTILE, mode=HOSTILE, adapter=HOSTILE)
