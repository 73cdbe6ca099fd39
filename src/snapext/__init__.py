"""SnapStart hooks in every process of a web server on AWS Lambda.

from snapext import register_before_snapshot, register_after_restore

@register_before_snapshot
def close_pool() -> None: ...

@register_after_restore
def open_pool() -> None: ...
"""

from snapext.guest.own import keep_first

keep_first(__name__)
del keep_first

from snapext.api import (  # noqa: E402 - after the call that keeps it the only copy
    bind_loop,
    checkpoint,
    connect,
    connect_if_expected,
    fresh,
    get_after_restore,
    get_before_snapshot,
    install_all,
    is_restored,
    register_after_restore,
    register_before_snapshot,
    register_generator,
    reseed,
    status,
    wait_restored,
)

__all__ = [
    "bind_loop",
    "checkpoint",
    "connect",
    "fresh",
    "get_after_restore",
    "get_before_snapshot",
    "install_all",
    "is_restored",
    "register_after_restore",
    "register_before_snapshot",
    "register_generator",
    "reseed",
    "status",
    "wait_restored",
]

connect_if_expected()
del connect_if_expected
