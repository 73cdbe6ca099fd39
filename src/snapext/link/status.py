"""What a process can ask about itself."""

from __future__ import annotations

from snapext.wire.fields import flag, natural, number, text
from snapext.wire.record import Record


class Status(Record):
    """This process's view of the environment that it runs in.

    phase: the state of the boundary, by its name on the wire: `init` until the extension is heard of, then what the
        extension said last: `init`, `before_snapshot`, `snapshot`, `after_restore`, `ready`, `shutdown`.
    generation: 0 before the snapshot, 1 once this process has been restored and its hooks are done.
    environment_id: 32 hexadecimal digits, made after the restore; the same in every process of one environment and
        different in every clone. None before.
    restored_at: when the restore was noticed, in Unix seconds, by the wall clock as it is set now: right after the
        restore that may still be the snapshot's. None before, and in a process that began after it.
    initialization_type: the platform's word: `snap-start`, `on-demand`, …; None outside Lambda.
    connected: whether the extension is at the other end right now.
    """

    phase: str = text()
    generation: int = natural()
    environment_id: str | None = text(null=True)
    restored_at: float | None = number(null=True)
    initialization_type: str | None = text(null=True)
    connected: bool = flag()
