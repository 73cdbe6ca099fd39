"""The app of ways.py, where the import computes for $SLOW_S seconds in every process but the first: `ways_slow:wsgi`.

$SLOW says when: `before` it imports a hook module, or `between` that and the hooks.
"""

import os
import time

if os.environ["SLOW"] == "between":
    import snapshot_restore_py  # noqa: F401 - links this process

try:
    os.close(os.open(os.environ["MARK"], os.O_CREAT | os.O_EXCL))
except FileExistsError:
    until_s = time.monotonic() + float(os.environ["SLOW_S"])
    while time.monotonic() < until_s:
        pass

from ways import wsgi  # noqa: F401
