"""Whether the main thread of a process waits for connections, as a server does that has started, and no import does.

The kernel names the call in which a thread waits, and its arguments (/proc/PID/syscall); what these point to is read
off the process's memory. Both need the permission to trace it (ptrace(2)). Where it is missing nothing is known, and
the answer is no. Nothing here raises.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection

from snapext_extension.kernel import sockets
from snapext_extension.kernel.processes import read

_POLLIN = 1
_POLLFD = struct.Struct("=ihh")
"""struct pollfd of poll(2)."""
_MAX_FDS = 4096
# Numbers of arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h, by the form of the arguments.
# After a stop the kernel resumes some as restart_syscall, which shows no arguments until the next call.
_CALLS = {
    "x86_64": {43: "accept", 288: "accept", 232: "epoll", 281: "epoll", 441: "epoll", 7: "poll", 271: "poll",
               23: "select", 270: "select"},
    "aarch64": {202: "accept", 242: "accept", 22: "epoll", 441: "epoll", 73: "poll", 72: "select"},
}  # fmt: skip


def accepts(pid: int, listening: Collection[int]) -> bool:
    """Whether it waits for one of these sockets, which listen. They are given by their inodes."""
    words = read(f"/proc/{pid}/syscall").split()
    if len(words) < 7 or not words[0].isdigit():
        return False
    kind = _CALLS.get(os.uname().machine, {}).get(int(words[0]))
    first, second = int(words[1], 16), int(words[2], 16)
    if kind == "accept":
        awaited = [first]
    elif kind == "epoll":
        awaited = epoll_watches(read(f"/proc/{pid}/fdinfo/{first}"))
    elif kind == "poll" and second <= _MAX_FDS:
        awaited = poll_watches(_memory(pid, first, second * _POLLFD.size))
    elif kind == "select" and first <= _MAX_FDS:
        awaited = select_watches(_memory(pid, second, (first + 63) // 64 * 8))
    else:
        return False
    return any(_inode(pid, descriptor) in listening for descriptor in awaited)


def epoll_watches(fdinfo: bytes) -> list[int]:
    """The descriptors in /proc/PID/fdinfo/FD of an epoll(7) instance."""
    lines = (line.split() for line in fdinfo.split(b"\n"))
    return [int(words[1]) for words in lines if words[:1] == [b"tfd:"] and words[1:2] and words[1].isdigit()]


def poll_watches(array: bytes) -> list[int]:
    """The descriptors that poll(2) is to watch for something to read."""
    whole = len(array) - len(array) % _POLLFD.size
    return [fd for fd, events, _ in _POLLFD.iter_unpack(array[:whole]) if fd >= 0 and events & _POLLIN]


def select_watches(bits: bytes) -> list[int]:
    """The descriptors in an fd_set of select(2). Both machines that we know store the low byte of a long first."""
    number = int.from_bytes(bits, "little")
    return [fd for fd in range(number.bit_length()) if number >> fd & 1]


def _inode(pid: int, descriptor: int) -> int:
    try:
        return sockets.socket_inode(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    except OSError:
        return 0


def _memory(pid: int, address: int, size: int) -> bytes:
    """A piece of a process's memory; empty if it may not be read."""
    try:
        file = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(file, size, address)
    except (OSError, OverflowError):
        return b""
    finally:
        os.close(file)
