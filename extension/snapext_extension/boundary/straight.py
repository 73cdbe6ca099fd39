"""The plan of a restore about which nothing is unusual. No I/O.

What a restore touches first is read from the snapshot, page by page, so the shell carries such a restore out in one
function (snapext_extension.straight), and hands what it did to the lifecycle afterwards: Lifecycle.crossed leaves it as
the events would have left it that this stands for.
"""

from __future__ import annotations

from snapext_extension.data import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Plan(Data):
    """Tell all members the same, and answer the gate when each has answered that it is done.

    hooks: how many after-restore hooks each member has, by its key; all of them are connected. A member that answers
    that it had fewer has registered one late. id, timeout_ms: of the phase. by_check: whether it is the web adapter's
    readiness check that shows the restore; else it is the answer to restore/next. debug: whether each step is logged.
    metrics: whether the answers are kept, to be measured afterwards.
    """

    hooks: Mapping[int, int]
    id: int
    timeout_ms: int
    by_check: bool
    debug: bool
    metrics: bool
