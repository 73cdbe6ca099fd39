"""The messages, and how each is written to and read from a JSON object.

A reader ignores unknown types and unknown fields, so that either side may be newer than the other. A known type with a
missing or mistyped field is malformed: `from_wire` raises RemoteProtocolError and names the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_args

from snapext.errors import RemoteProtocolError

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 64 * 1024
"""The longest line either side may send, its newline included."""
APP, CONTROL = ROLES = ("app", "control")
"""What a process is on a connection: one that has hooks, or one that asks something (`snapext status`)."""


def _field(data: Mapping[str, Any], name: str, *kinds: type) -> Any:
    """One field of a message. A bool is not taken for a number."""
    try:
        value = data[name]
    except KeyError:
        raise RemoteProtocolError(f"{data.get('type', 'object')}: the field {name!r} is missing") from None
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        accepted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise RemoteProtocolError(f"{data.get('type', 'object')}: {name!r} must be {accepted}")
    return value


def _optional(data: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    return _field(data, name, kind) if name in data else default


def _choice(data: Mapping[str, Any], name: str, accepted: tuple[str, ...]) -> str:
    value: str = _field(data, name, str)
    if value not in accepted:
        raise RemoteProtocolError(f"{data.get('type', 'object')}: {name!r} must be {' or '.join(accepted)}")
    return value


def _names(data: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = _field(data, name, list)
    if not all(isinstance(item, str) for item in value):
        raise RemoteProtocolError(f"{data.get('type', 'object')}: {name!r} must be a list of strings")
    return tuple(value)


def _natural(data: Mapping[str, Any], name: str) -> int:
    value = _field(data, name, int)
    if not 0 <= value < 2**63:
        raise RemoteProtocolError(f"{data.get('type', 'object')}: {name!r} must not be negative, nor 2**63 or more")
    return int(value)


def _number(data: Mapping[str, Any], name: str) -> float:
    value = _field(data, name, int, float)
    if not 0 <= value < 2**63:
        raise RemoteProtocolError(f"{data.get('type', 'object')}: {name!r} must be a finite number, not negative")
    return float(value)


@dataclass(frozen=True, slots=True)
class HookCounts:
    """How many hooks a process has registered for each phase."""

    before_snapshot: int = 0
    after_restore: int = 0

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> HookCounts:
        return cls(_natural(data, "before_snapshot"), _natural(data, "after_restore"))


@dataclass(frozen=True, slots=True)
class HookTiming:
    """One hook that has run to its end."""

    name: str
    duration_ms: float

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> HookTiming:
        return cls(_field(data, "name", str), _number(data, "duration_ms"))


@dataclass(frozen=True, slots=True)
class HookFailure:
    """Why a phase failed in a process. `stack` is the text of the traceback; `hook` is None if no hook is to blame.

    duration_ms: how long that hook ran before it failed; None if the process does not say.
    """

    type: str
    message: str
    stack: str
    hook: str | None
    duration_ms: float | None = None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> HookFailure:
        return cls(
            _field(data, "type", str),
            _field(data, "message", str),
            _field(data, "stack", str),
            _field(data, "hook", str, type(None)),
            _number(data, "duration_ms") if data.get("duration_ms") is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Hello:
    """A process joins. It is the first message on a connection.

    `role` is `app`, or `control` for a command. `generation` is the last one that this memory image has seen. `forked`
    says that the image is a copy of its parent's (fork without exec): such a process may hold state from before the
    snapshot although it is younger than the restore. `signalled`: it comes because it was sent the phase's signal, and
    for that phase alone. `importing`: its main thread is in the middle of an import, where more hooks may be
    registered; a `hooks` message follows when that is over.
    """

    type: ClassVar[str] = "hello"
    protocol: int
    pid: int
    role: str
    client: str
    name: str
    hooks: HookCounts
    generation: int
    forked: bool = False
    signalled: bool = False
    importing: bool = False

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Hello:
        return cls(
            protocol=_natural(data, "protocol"),
            pid=_natural(data, "pid"),
            role=_choice(data, "role", ROLES),
            client=_optional(data, "client", str, "unknown"),
            name=_optional(data, "name", str, "unnamed"),
            hooks=HookCounts.from_wire(_field(data, "hooks", dict)),
            generation=_natural(data, "generation"),
            forked=_optional(data, "forked", bool, False),
            signalled=_optional(data, "signalled", bool, False),
            importing=_optional(data, "importing", bool, False),
        )


@dataclass(frozen=True, slots=True)
class Welcome:
    """The extension's answer to hello.

    `phase` is one of the lifecycle's. `generation` is the one that the process is at: 0 if it still owes the hooks.
    `environment_id` is null before the restore.
    """

    type: ClassVar[str] = "welcome"
    protocol: int
    phase: str
    generation: int
    environment_id: str | None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Welcome:
        return cls(
            _natural(data, "protocol"),
            _field(data, "phase", str),
            _natural(data, "generation"),
            _field(data, "environment_id", str, type(None)),
        )


@dataclass(frozen=True, slots=True)
class Hooks:
    """A process has registered more hooks since its hello, or its main thread has ended an import.

    What runs is decided in the process, not by these counts.
    """

    type: ClassVar[str] = "hooks"
    hooks: HookCounts
    importing: bool = False

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Hooks:
        return cls(HookCounts.from_wire(_field(data, "hooks", dict)), _optional(data, "importing", bool, False))


@dataclass(frozen=True, slots=True)
class BeforeSnapshot:
    """Run the before-snapshot hooks and answer with `done` of the same id within `timeout_ms`.

    serving: the process serves already, from within an import: it need not wait for that to end.
    """

    type: ClassVar[str] = "before_snapshot"
    id: int
    generation: int
    timeout_ms: int
    serving: bool = False

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> BeforeSnapshot:
        return cls(
            _natural(data, "id"),
            _natural(data, "generation"),
            _natural(data, "timeout_ms"),
            _optional(data, "serving", bool, False),
        )


@dataclass(frozen=True, slots=True)
class AfterRestore:
    """Run the after-restore hooks and answer with `done` of the same id within `timeout_ms`.

    restored_at: in Unix seconds, by the wall clock as it was then: the platform may set it only afterwards.
    restored_monotonic: the same moment by CLOCK_MONOTONIC, in seconds, with which the first can be corrected.
    """

    type: ClassVar[str] = "after_restore"
    id: int
    generation: int
    timeout_ms: int
    environment_id: str
    restored_at: float
    restored_monotonic: float | None = None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> AfterRestore:
        return cls(
            _natural(data, "id"),
            _natural(data, "generation"),
            _natural(data, "timeout_ms"),
            _field(data, "environment_id", str),
            _number(data, "restored_at"),
            _number(data, "restored_monotonic") if "restored_monotonic" in data else None,
        )


@dataclass(frozen=True, slots=True)
class Running:
    """A hook is about to run. With it the extension can name the hook of a process that hangs or dies."""

    type: ClassVar[str] = "running"
    id: int
    hook: str

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Running:
        return cls(_natural(data, "id"), _field(data, "hook", str))


@dataclass(frozen=True, slots=True)
class Done:
    """A process has ended a phase. `hooks` are those that ran to their end, in the order in which they ran."""

    type: ClassVar[str] = "done"
    id: int
    ok: bool
    duration_ms: float
    hooks: tuple[HookTiming, ...] = ()
    error: HookFailure | None = None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Done:
        ok = _field(data, "ok", bool)
        hooks = _optional(data, "hooks", list, [])
        if not all(isinstance(hook, dict) for hook in hooks):
            raise RemoteProtocolError("done: 'hooks' must be a list of objects")
        return cls(
            id=_natural(data, "id"),
            ok=ok,
            duration_ms=_number(data, "duration_ms"),
            hooks=tuple(HookTiming.from_wire(hook) for hook in hooks),
            error=None if ok else HookFailure.from_wire(_field(data, "error", dict)),
        )


@dataclass(frozen=True, slots=True)
class Describe:
    """Somebody asks for the names of the hooks. A process may leave it unanswered: its counts are known."""

    type: ClassVar[str] = "describe"
    id: int

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Describe:
        return cls(_natural(data, "id"))


@dataclass(frozen=True, slots=True)
class Described:
    """The names of the hooks of each phase, in the order in which they will run."""

    type: ClassVar[str] = "described"
    id: int
    before_snapshot: tuple[str, ...]
    after_restore: tuple[str, ...]

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Described:
        return cls(_natural(data, "id"), _names(data, "before_snapshot"), _names(data, "after_restore"))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The function is up: take it across the boundary now. Answered by `result` when it is behind."""

    type: ClassVar[str] = "checkpoint"


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Who is connected, and how far are we? Answered by `result`."""

    type: ClassVar[str] = "status"


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a command. `message` says why it is not ok, `exit_status` how the command should end.

    `status` is the answer to `status`, see docs/protocol.md.
    """

    type: ClassVar[str] = "result"
    ok: bool
    message: str | None = None
    exit_status: int = 0
    status: Mapping[str, Any] | None = None

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Result:
        return cls(
            _field(data, "ok", bool),
            _field(data, "message", str, type(None)),
            _natural(data, "exit_status"),
            _field(data, "status", dict, type(None)),
        )


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The environment ends. `deadline_ms` is the time left, in milliseconds."""

    type: ClassVar[str] = "shutdown"
    reason: str
    deadline_ms: int

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Shutdown:
        return cls(_field(data, "reason", str), _natural(data, "deadline_ms"))


Message = (
    Hello
    | Welcome
    | Hooks
    | BeforeSnapshot
    | AfterRestore
    | Running
    | Done
    | Describe
    | Described
    | Checkpoint
    | StatusRequest
    | Result
    | Shutdown
)

_PARTS = (HookCounts, HookTiming, HookFailure)

FROM_ROLE: Mapping[str, frozenset[str]] = {
    APP: frozenset(kind.type for kind in (Hello, Hooks, Running, Done, Described)),
    CONTROL: frozenset(kind.type for kind in (Hello, Checkpoint, StatusRequest)),
}
"""Which types a process of each role may send."""
FROM_PROCESS: Mapping[str, Callable[[Mapping[str, Any]], Message]] = {
    **{kind.type: kind.from_wire for kind in (Hello, Hooks, Running, Done, Described)},
    Checkpoint.type: lambda _data: Checkpoint(),
    StatusRequest.type: lambda _data: StatusRequest(),
}
FROM_EXTENSION: Mapping[str, Callable[[Mapping[str, Any]], Message]] = {
    kind.type: kind.from_wire for kind in (Welcome, BeforeSnapshot, AfterRestore, Describe, Result, Shutdown)
}


def to_wire(message: Message) -> dict[str, Any]:
    """The JSON object of a message."""
    return {"type": message.type, **_plain(message)}


def _plain(value: Any) -> Any:
    """What JSON can hold. dataclasses.asdict copies all that it meets, and a restore waits for it: 5 times as long."""
    names = _FIELDS.get(type(value))
    if names is not None:
        return {
            name: _plain(field)
            for name in names
            if not ((field := getattr(value, name)) is None or field is False) or name not in _SILENT_BY_DEFAULT
        }
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


_SILENT_BY_DEFAULT = frozenset({"error", "duration_ms", "importing", "restored_monotonic", "serving"})
"""Fields that are left out when there is nothing to say: None or False."""
_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (*get_args(Message), *_PARTS)}
