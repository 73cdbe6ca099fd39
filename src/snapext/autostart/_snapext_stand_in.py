"""What `snapshot_restore_py` and `snapshot_restore` are where AWS's own is absent (see autostart/sitecustomize.py)."""

# Set before the import below: our registry looks for it to tell this module from the real one.
__snapext__ = True

from snapext import (
    get_after_restore,
    get_before_snapshot,
    register_after_restore,
    register_before_snapshot,
)

__all__ = ["get_after_restore", "get_before_snapshot", "register_after_restore", "register_before_snapshot"]
