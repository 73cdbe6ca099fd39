"""gRPC: channels, which nothing can close and open again."""

from __future__ import annotations

import sys

from snapext.integrations.frame import Integration
from snapext.integrations.reach import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def install(obj: Any = None) -> None:
    """Name one channel, or those that are there before the snapshot, as far as they may be connected.

    A channel has no way to drop its connection and go on: a line says what to write. Never raises; twice is once.
    """
    _GRPC.install(obj)


class _Grpc(Integration):
    def classes(self) -> tuple[type, ...]:
        import grpc

        aio = getattr(sys.modules.get("grpc.aio"), "Channel", None)
        return (grpc.Channel,) if aio is None else (grpc.Channel, aio)

    def before_snapshot(self, thing: Any) -> None:
        if _may_be_connected(thing):
            name = name_of(thing)
            self.warn(
                f"channel {name}",
                f"there is the channel {name}. If it has been used by now, its connection is dead in each "
                "clone, where a call waits for as long as it may; and once closed, it cannot be opened again. Close it "
                "and drop it (channel = None) in a before-snapshot hook, and make it and its stubs in an after-restore "
                "hook. A channel that is not used before the restore needs nothing",
            )


def _may_be_connected(channel: Any) -> bool:
    """grpc.aio says it. The other API tells a closed channel from an open one in no documented way."""
    import grpc

    return not hasattr(channel, "get_state") or bool(channel.get_state() == grpc.ChannelConnectivity.READY)


_GRPC = _Grpc(__name__)
