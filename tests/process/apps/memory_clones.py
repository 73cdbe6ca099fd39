"""Clones of one memory, without a virtual machine: `clones(3, draw)` is what `draw` returns in each of three.

`os.fork` will not do: OpenSSL notices it, and compares process ids as well. The bare system call runs no handler of
atfork, and in a namespace of its own each clone has the id of its parent, 1. What the kernel does for a fork it does
here too (madvise(2), MADV_WIPEONFORK): BoringSSL notices by that.
"""

import ctypes
import json
import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE = {"x86_64": 56, "aarch64": 220}[platform.machine()]
NEW_PID_NAMESPACE = 0x20000000  # CLONE_NEWPID
NEW_USER_NAMESPACE = 0x10000000  # CLONE_NEWUSER
libc = ctypes.PyDLL(None, use_errno=True)  # it keeps the interpreter's lock
# A clone has no other thread than the one that makes it. One that holds the lock of malloc in that moment (numpy's), or
# that waits for the interpreter's lock (the link's), would have the clone wait for it without end.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["SNAPEXT_MODE"] = "off"


def clone(flags: int = 0) -> int:
    threads = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
    if len(threads) > 1:
        raise RuntimeError(f"a clone would wait for the other threads here: {threads}")
    pid: int = libc.syscall(CLONE, NEW_PID_NAMESPACE | flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone(2) with a namespace of process ids")
    return pid


def clones(count: int, draw: Callable[[], Any]) -> list[Any]:
    drawn = []
    for _ in range(count):
        reader, writer = os.pipe()
        pid = clone()
        if not pid:
            try:
                os.write(writer, json.dumps(draw()).encode())
            except Exception as error:
                os.write(2, repr(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            drawn.append(json.loads(answer.read() or "null"))
        os.waitpid(pid, 0)
    return drawn


def main() -> None:
    """Run the code in the first argument as process 1 of its own namespace, as each of its clones will be."""
    pid = clone(NEW_USER_NAMESPACE if os.geteuid() else 0)  # in which it may do what root may
    if pid:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    exec(sys.argv[1], {"clones": clones})


if __name__ == "__main__":
    main()
