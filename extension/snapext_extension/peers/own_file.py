"""What we make beside others' files, and take away again: the socket and the pipe."""

from __future__ import annotations

import os


def remove(path: str, ours: os.stat_result) -> bool:
    """Take away the file that `ours` describes, and no other that is in its place now. Returns whether it was there."""
    if not os.path.samestat(os.lstat(path), ours):
        return False
    os.unlink(path)
    return True
