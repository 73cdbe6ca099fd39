"""logging: handlers that send records through a socket, or keep them for later."""

from __future__ import annotations

from snapext.integrations.frame import Integration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from logging import Handler
    from typing import Any


def install(obj: Handler | None = None) -> None:
    """Take care of one handler, or of all that are alive before the snapshot. Never raises; twice is once.

    Before the snapshot a `MemoryHandler` is flushed: each clone would send what it keeps. Then, and once more after the
    restore, `close()` closes the socket of a `SocketHandler`, `DatagramHandler` or `SysLogHandler`, which opens another
    for its next record. (`HTTPHandler` and `SMTPHandler` connect for each record.)
    """
    _LOGGING.install(obj)


class _Logging(Integration):
    def classes(self) -> tuple[type, ...]:
        from logging.handlers import MemoryHandler, SocketHandler, SysLogHandler

        return (MemoryHandler, SocketHandler, SysLogHandler)

    def objects(self) -> list[Any]:
        return sorted(super().objects(), key=self._keeps_records, reverse=True)  # it may send by another

    def before_snapshot(self, thing: Any) -> None:
        if self._keeps_records(thing):
            thing.flush()
            return
        name = thing.get_name()
        thing.close()
        if name:
            thing.set_name(name)  # which close() makes logging forget

    def after_restore(self, thing: Any) -> None:
        if not self._keeps_records(thing):
            self.before_snapshot(thing)

    def _keeps_records(self, thing: Any) -> bool:
        return isinstance(thing, self.classes()[0])


_LOGGING = _Logging(__name__)
