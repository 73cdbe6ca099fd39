"""Which sockets listen, and which process holds them, read from /proc (see proc(5)).

A socket is known by its inode: /proc/net names the inodes of those that listen, /proc/PID/fd those of a process.
Nothing here raises: a process that has ended meanwhile, or may not be read, holds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from snapext_extension.kernel.processes import read

_LISTEN = b"0A"
"""TCP_LISTEN of include/net/tcp_states.h."""
_ACCEPTS = 0x10000
"""__SO_ACCEPTCON of include/linux/net.h: listen() was called."""
_STREAM = 1


def listening_inodes(port: int) -> frozenset[int]:
    """The TCP sockets, of IPv4 and of IPv6, that listen on a port, at whatever address."""
    return frozenset(inode for local, inode in _listening_tcp() if local == port)


def all_listening_inodes() -> frozenset[int]:
    """Every TCP socket and every Unix stream socket that listens."""
    return frozenset(inode for _, inode in _listening_tcp()) | listening_unix(read("/proc/net/unix"))


def held_by(pid: int) -> frozenset[int]:
    """The sockets that a process has open."""
    try:
        folder = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return frozenset()
    try:
        return frozenset(inode for inode in _sockets_in(folder) if inode)
    except OSError:
        return frozenset()
    finally:
        os.close(folder)


def listening_tcp(table: bytes) -> Iterator[tuple[int, int]]:
    """Port and inode of each socket that listens, off the text of /proc/net/tcp or tcp6."""
    for line in table.split(b"\n"):
        fields = line.split(None, 10)
        if len(fields) >= 10 and fields[3] == _LISTEN:
            try:
                port, inode = int(fields[1].rpartition(b":")[2], 16), int(fields[9])
            except ValueError:
                continue
            if inode:
                yield port, inode


def listening_unix(table: bytes) -> frozenset[int]:
    """The inodes of the stream sockets that listen, off the text of /proc/net/unix."""
    found = set()
    for line in table.split(b"\n")[1:]:
        fields = line.split(None, 7)
        try:
            if int(fields[3], 16) & _ACCEPTS and int(fields[4], 16) == _STREAM:
                found.add(int(fields[6]))
        except (IndexError, ValueError):
            continue
    return frozenset(found)


def socket_inode(link: str) -> int:
    """The inode in what a link in /proc/PID/fd says; 0 if that is no socket."""
    inode = link[8:-1]
    return int(inode) if link.startswith("socket:[") and inode.isdecimal() else 0


def _listening_tcp() -> Iterator[tuple[int, int]]:
    for name in ("tcp", "tcp6"):
        yield from listening_tcp(read(f"/proc/net/{name}"))


def _sockets_in(folder: int) -> Iterator[int]:
    for name in os.listdir(folder):
        try:
            yield socket_inode(os.readlink(name, dir_fd=folder))
        except OSError:  # closed since
            continue
