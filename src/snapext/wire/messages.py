"""The messages: what each of them says, who sends it, and its fields. Each is declared once, here.

A reader ignores unknown types and unknown fields, so that either side may be newer than the other. A known type with a
missing or mistyped field is malformed: `read` raises RemoteProtocolError and names the type and the field.
"""

from __future__ import annotations

from snapext.wire.fields import choice, flag, mapping, names, natural, number, part, parts, text
from snapext.wire.phases import AFTER_RESTORE, BEFORE_SNAPSHOT, SHUTDOWN
from snapext.wire.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 64 * 1024
"""The longest line either side may send, its newline included."""

APP = "app"
CONTROL = "control"
"""What a process is on a connection: one that has hooks, or a command, which asks something (`snapext status`)."""
EXTENSION = "extension"
"""The other side of it."""


class Message(Record):
    """What one line says. type: its name on the wire. senders: the roles that may send it, or the extension."""

    type: ClassVar[str]
    senders: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, *, title: str, senders: tuple[str, ...]) -> None:
        super().__init_subclass__(title=title)
        cls.type = title
        cls.senders = senders


class HookCounts(Record, title="hooks"):
    """How many hooks a process has registered for each phase."""

    before_snapshot: int = natural(default=0)
    after_restore: int = natural(default=0)


class HookTiming(Record, title="a hook of done"):
    """One hook that has run to its end."""

    name: str = text()
    duration_ms: float = number()


class HookFailure(Record, title="the error of done"):
    """Why a phase failed in a process. `stack` is the text of the traceback; `hook` is None if no hook is to blame.

    duration_ms: how long that hook ran before it failed; None if the process does not say.
    """

    type: str = text()
    message: str = text()
    stack: str = text()
    hook: str | None = text(null=True)
    duration_ms: float | None = number(null=True, default=None, absent=None, said=False)


class Hello(Message, title="hello", senders=(APP, CONTROL)):
    """A process joins. It is the first message on a connection.

    `role` is `app`, or `control` for a command. `generation` is the last one that this memory image has seen. `forked`
    says that the image is a copy of its parent's (fork without exec): such a process may hold state from before the
    snapshot although it is younger than the restore. `signalled`: it comes because it was sent the phase's signal, and
    for that phase alone. `importing`: its main thread is in the middle of an import, where more hooks may be
    registered; a `hooks` message follows when that is over. `board`: it can write the hook that runs on a line of the
    board (board.py) instead of sending `running`. `passed`: see Hooks.
    """

    protocol: int = natural()
    pid: int = natural()
    role: str = choice(APP, CONTROL)
    client: str = text(absent="unknown")
    name: str = text(absent="unnamed")
    hooks: HookCounts = part(HookCounts)
    generation: int = natural()
    forked: bool = flag(default=False, absent=False)
    signalled: bool = flag(default=False, absent=False)
    importing: bool = flag(default=False, absent=False, said=False)
    board: bool = flag(default=False, absent=False, said=False)
    passed: int | None = natural(default=None, absent=None, said=False)


class Welcome(Message, title="welcome", senders=(EXTENSION,)):
    """The extension's answer to hello.

    `phase` is one of the lifecycle's states. `generation` is the one that the process is at: 0 if it still owes the
    hooks. `environment_id` is None before the restore. `line`: the process's own on the board, whose descriptor comes
    with the first byte of this message; None if there is no board for it. `commands` are those that the extension takes
    (COMMANDS); an older one does not say so, and takes no `restored`.
    """

    protocol: int = natural()
    phase: str = text()
    generation: int = natural()
    environment_id: str | None = text(null=True)
    line: int | None = natural(default=None, absent=None, said=False)
    commands: tuple[str, ...] | None = names(default=None, absent=None, said=False)


class Hooks(Message, title="hooks", senders=(APP,)):
    """A process has more hooks than it has said, or its main thread has finished an import, or a request has passed.

    What runs is decided in the process, not by these counts. `passed`: a middleware holds each request that comes after
    the restore until the hooks have run, once it knows of the restore; so many have come since the before-snapshot
    hooks, and passed because it did not. None: there is no middleware.
    """

    hooks: HookCounts = part(HookCounts)
    importing: bool = flag(default=False, absent=False, said=False)
    passed: int | None = natural(default=None, absent=None, said=False)


class BeforeSnapshot(Message, title=BEFORE_SNAPSHOT, senders=(EXTENSION,)):
    """Run the before-snapshot hooks and answer with `done` of the same id within `timeout_ms`.

    serving: the process serves already, from within an import: it need not wait for that to end.
    """

    id: int = natural()
    generation: int = natural()
    timeout_ms: int = natural()
    serving: bool = flag(default=False, absent=False, said=False)


class AfterRestore(Message, title=AFTER_RESTORE, senders=(EXTENSION,)):
    """Run the after-restore hooks and answer with `done` of the same id within `timeout_ms`.

    restored_at: in Unix seconds, by the wall clock as it was then: the platform may set it only afterwards.
    restored_monotonic: the same moment by CLOCK_MONOTONIC, in seconds, with which the first can be corrected.
    """

    id: int = natural()
    generation: int = natural()
    timeout_ms: int = natural()
    environment_id: str = text()
    restored_at: float = number()
    restored_monotonic: float | None = number(default=None, absent=None, said=False)


class Running(Message, title="running", senders=(APP,)):
    """A hook is about to run. With it the extension can name the hook of a process that hangs or dies."""

    id: int = natural()
    hook: str = text()


class Done(Message, title="done", senders=(APP,)):
    """A process has finished a phase. `hooks` are those that ran to their end, in the order in which they ran.

    registered: how many hooks of this phase there were when the process looked for the last time: all that it has run.
    """

    id: int = natural()
    ok: bool = flag()
    duration_ms: float = number()
    hooks: tuple[HookTiming, ...] = parts(HookTiming, default=(), absent=())
    error: HookFailure | None = part(HookFailure, unless="ok", default=None, said=False)
    registered: int | None = natural(default=None, absent=None, said=False)


class Describe(Message, title="describe", senders=(EXTENSION,)):
    """Somebody asks for the names of the hooks. A process may leave it unanswered: its counts are known."""

    id: int = natural()


class Described(Message, title="described", senders=(APP,)):
    """The names of the hooks of each phase, in the order in which they will run."""

    id: int = natural()
    before_snapshot: tuple[str, ...] = names()
    after_restore: tuple[str, ...] = names()


class Checkpoint(Message, title="checkpoint", senders=(CONTROL,)):
    """The function is up: take it across the boundary now. Answered by `result` when it is behind."""


class Restored(Message, title="restored", senders=(CONTROL,)):
    """The environment has been restored: the web adapter said so to the app. Answered as `checkpoint` is."""


class StatusRequest(Message, title="status", senders=(CONTROL,)):
    """Which processes take part, and how far is the boundary? Answered by `result`."""


COMMANDS = (Checkpoint.type, Restored.type, StatusRequest.type)


class Result(Message, title="result", senders=(EXTENSION,)):
    """The answer to a command. `message` says why it is not ok, `exit_status` how the command should end.

    `status` is the answer to `status`, see docs/protocol.md.
    """

    ok: bool = flag()
    message: str | None = text(null=True, default=None)
    exit_status: int = natural(default=0)
    status: Mapping[str, Any] | None = mapping(null=True, default=None)


class Shutdown(Message, title=SHUTDOWN, senders=(EXTENSION,)):
    """The environment ends. `deadline_ms` is the time left, in milliseconds."""

    reason: str = text()
    deadline_ms: int = natural()


FROM: Mapping[str, Mapping[str, type[Message]]] = {
    sender: {kind.type: kind for kind in Message.__subclasses__() if sender in kind.senders}
    for sender in (APP, CONTROL, EXTENSION)
}
"""What each role may send, and the extension, by type."""
FROM_PROCESS: Mapping[str, type[Message]] = {**FROM[APP], **FROM[CONTROL]}
FROM_EXTENSION: Mapping[str, type[Message]] = FROM[EXTENSION]


def to_wire(message: Message) -> dict[str, Any]:
    """The JSON object of a message."""
    return {"type": message.type, **message.write()}
