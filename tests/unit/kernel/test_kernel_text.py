"""What the kernel says of processes and sockets, taken from its text."""

import shlex
import struct

import pytest

from helpers import for_each
from snapext_extension.kernel import rest, tree
from snapext_extension.kernel.accepting import epoll_watches, poll_watches, select_watches
from snapext_extension.kernel.interpreter import is_python_name
from snapext_extension.kernel.look import MAX_COMMAND_CHARS, shown
from snapext_extension.kernel.processes import Stat, maps_python, parse_stat
from snapext_extension.kernel.sockets import listening_tcp, listening_unix, socket_inode
from snapext_extension.kernel.tree import is_extension

TCP = b"""\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 100 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4713 1 0000000000000000 20 4
   3: 0100007F:2553 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0000000000000000 100 0
   4: 0100007F:1F90 0100007F:C351 06 00000000:00000000 03:000017A0 00000000     0        0 0 3 0000000000000000
   5: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 0 1 0000000000000000 100 0
"""
TCP6 = b"""\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0     0        0 99 1 0 1
"""
UNIX = b"""\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 21 /tmp/snapext-0/bridge.sock
0000000000000000: 00000002 00000000 00010000 0001 01 22 /tmp/with a space.sock
0000000000000000: 00000002 00000000 00010000 0001 01 23
0000000000000000: 00000003 00000000 00000000 0001 03 24 /tmp/snapext-0/bridge.sock
0000000000000000: 00000002 00000000 00010000 0005 01 25 /seqpacket
0000000000000000: 00000002 00000000 00000000 0002 01 26 /datagram
"""


@for_each(
    "table, expected",
    [
        (TCP, [(8080, 4711), (8080, 4712), (9555, 4714)]),
        (TCP6, [(8080, 99)]),
        (b"", []),
        (TCP.splitlines(keepends=True)[0], []),
        (b"   0: 0100007F:1F90 00000000:0000 0A 0000", []),
        (b"   0: 0100007F:web 0:0 0A 0:0 0:0 0 0 0 7 1\n", []),
    ],
)
def test_only_the_sockets_that_listen_are_taken_from_the_table(table, expected):
    """With the port that each listens on; a connection, a socket without an owner and a torn line are none."""
    assert expected == [*listening_tcp(table)]


@pytest.mark.parametrize(("table", "expected"), [(UNIX, {21, 22, 23}), (b"", set()), (b"Num\nnonsense\n", set())])
def test_only_the_stream_sockets_that_listen_are_taken_from_the_table_of_unix_sockets(table, expected):
    """Whatever their path looks like; one that has been accepted carries the same path and does not listen."""
    assert expected == listening_unix(table)


@pytest.mark.parametrize(
    ("link", "inode"),
    [("socket:[4711]", 4711), ("pipe:[4711]", 0), ("/dev/null", 0), ("socket:[]", 0), ("anon_inode:[eventpoll]", 0)],
)
def test_a_link_to_a_socket_names_its_inode(link, inode):
    """Anything else is no socket."""
    assert inode == socket_inode(link)


# --- at rest ---------------------------------------------------------------------------------------------------------


@for_each("state", ["R", "D", "T", "t", "Z", "X", "I", "W"])
@for_each("syscall", [b"", b"232 0x4 0x7f", b"running\n"])
def test_a_thread_that_does_not_sleep_is_not_at_rest(state, syscall):
    """Runnable (as one that a CPU limit holds back is), waiting for a disk, stopped, ended: whatever call it is in."""
    assert not rest.waits(state, syscall, "x86_64")


@for_each(
    "machine, number, expected",
    [
        *(("x86_64", number, True) for number in (0, 7, 23, 34, 35, 43, 45, 47, 61, 128, 202, 219, 230, 232, 247)),
        *(("x86_64", number, True) for number in (270, 271, 281, 288, 441)),
        *(("aarch64", number, True) for number in (22, 63, 72, 73, 95, 98, 101, 115, 128, 137, 202, 207, 212, 242)),
        *(("aarch64", number, True) for number in (260, 441)),
        *(("x86_64", number, False) for number in (1, 2, 9, 22, 44, 59, 262)),
        *(("aarch64", number, False) for number in (0, 7, 56, 64, 222, 232)),
        ("riscv64", 1, True),
    ],
)
def test_a_sleeping_thread_is_at_rest_in_a_call_that_servers_wait_in(machine, number, expected):
    """By the numbers of the machine; where those are not known, that it sleeps is all there is."""
    assert expected == rest.waits("S", f"{number} 0x3 0x7fff5bb11770 0x12c 0x0 0x0 0x0 0x7f 0x7f\n".encode(), machine)


@pytest.mark.parametrize(("syscall", "expected"), [(b"", True), (b"running\n", False), (b"-1 0x7ffe 0x7f8b\n", False)])
def test_a_call_that_may_not_be_read_or_is_none_is_told_apart(syscall, expected):
    """Unreadable: the state counts alone. `running`, or a page fault: it goes on by itself."""
    assert expected == rest.waits("S", syscall, "x86_64")


@for_each(
    "syscall, machine, expected",
    [
        (b"202 0x7f 0x189 0x0 0x7ffe 0x0 0xffffffff 0x7f 0x7f\n", "x86_64", True),
        (b"202 0x7f 0x189 0x0 0x0 0x0 0xffffffff 0x7f 0x7f\n", "x86_64", True),
        (b"232 0x7f 0x189 0x0 0x7ffe 0x0 0xffffffff 0x7f 0x7f\n", "x86_64", False),
        (b"98 0x7f 0x189 0x0 0x7ffe 0x0 0xffffffff 0x7f 0x7f\n", "aarch64", True),
        (b"202 0x7f 0x189 0x0 0x7ffe 0x0 0xffffffff 0x7f 0x7f\n", "riscv64", False),
        (b"running\n", "x86_64", False),
        (b"", "x86_64", False),
    ],
)
def test_a_wait_for_a_lock_may_be_one_for_the_interpreter(syscall, machine, expected):
    """With a timeout or without; no other call is."""
    assert expected == rest.may_wait_for_a_thread(syscall, machine)


# --- what a process is -----------------------------------------------------------------------------------------------

STAT = b"7 (a) b) (c) S 3 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9\n"


def test_a_line_of_stat_is_read_whatever_the_name_is():
    """A name may hold brackets and blanks."""
    assert Stat(7, "a) b) (c", "S", 3, 4711) == parse_stat(STAT)


def test_a_kernel_thread_is_known_by_its_flags():
    """PF_KTHREAD, as kthreadd has it."""
    assert parse_stat(STAT).replace(is_kernel_thread=True) == parse_stat(STAT.replace(b"4194560", b"2129984"))


@pytest.mark.parametrize("line", [b"", b"7\n", b"7 (bash) S 1\n", b"x (bash) S " + b"1 " * 30])
def test_what_is_no_line_of_stat_is_refused(line):
    """By ValueError, whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"not a line|invalid literal"):
        parse_stat(line)


@for_each(
    "path, expected",
    [
        (b"/usr/lib/x86_64-linux-gnu/libpython3.12.so.1.0", True),
        (b"/opt/venv/lib/python3.11/lib-dynload/_struct.cpython-311-x86_64-linux-gnu.so", True),
        (b"/usr/lib/libpypy3.10-c.so", True),
        (b"/usr/lib/x86_64-linux-gnu/libc.so.6", False),
        (b"/usr/bin/node", False),
        (b"", False),
    ],
)
def test_an_embedded_python_is_known_by_what_is_mapped(path, expected):
    """Its library; or, where that was linked in, an extension module of it."""
    assert expected == maps_python(b"7f80b0800000-7f80b0a00000 r-xp 00000000 08:01 1234   " + path + b"\n")


API = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}
OTHER_API = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9009"}


@for_each(
    "command, environ, own_environ, expected",
    [
        (("/opt/extensions/agent",), {**API, "_HANDLER": "run.sh"}, API, True),
        (("python3", "/opt/extensions/agent", "-v"), {}, {}, True),
        (("python3", "/opt/extensions/agent/main.py"), {**API, "_HANDLER": "x"}, API, False),
        (("python3", "/opt/agent/main.py"), API, API, True),
        (("python3", "app.py"), {**API, "_HANDLER": "run.sh"}, API, False),
        (("python3", "app.py"), {**API, "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12"}, API, False),
        (("python3", "app.py"), {**API, "LAMBDA_TASK_ROOT": "/var/task"}, API, False),
        (("python3", "/opt/agent/main.py"), {**API, "LAMBDA_TASK_ROOT": "/x"}, {**API, "LAMBDA_TASK_ROOT": "/x"}, True),
        (("python3", "app.py"), {}, API, False),
        (("python3", "app.py"), OTHER_API, API, False),
        (("python3", "app.py"), API, {}, False),
        (("python3", "app.py"), API, {**API, **dict.fromkeys(tree._RUNTIMES_OWN, "x")}, False),
    ],
)
def test_an_extension_is_told_from_the_function(command, environ, own_environ, expected):
    """By a file of the folder on its command line, or by the lack of what the runtime alone is given.

    What an image sets for everybody tells nothing, nor does an environment that somebody has emptied.
    """
    assert expected == is_extension(command, environ, "/opt/extensions", own_environ)


FDINFO = b"""\
pos:\t0
flags:\t02000002
mnt_id:\t15
ino:\t1062
tfd:        7 events:       19 data:                7  pos:0 ino:b9 sdev:8
tfd:       12 events: 80000019 data:               12  pos:0 ino:ba sdev:8
tfd:
"""


def test_what_an_epoll_instance_watches():
    """A line that is cut off says nothing."""
    assert epoll_watches(FDINFO) == [7, 12]
    assert epoll_watches(b"") == []


def test_what_poll_watches_for_something_to_read():
    """Left out: what is only written to, what has a negative number, and an array that is not whole."""
    entries = [(5, 1, 0), (6, 4, 0), (-1, 1, 0), (8, 3, 16)]
    array = b"".join(struct.pack("=ihh", *entry) for entry in entries)
    assert poll_watches(array) == [5, 8]
    assert poll_watches(array[:12]) == [5]
    assert poll_watches(b"") == []


def test_what_select_watches():
    """Bit N of the set stands for descriptor N."""
    assert select_watches(bytes([0b1010, 0, 1])) == [1, 3, 16]
    assert select_watches(b"") == []


def test_a_command_line_is_shown_as_a_shell_would_take_it():
    """Word by word as shlex quotes it, and not at any length."""
    words = ["python3", "-c", "", "it's", 'a "b"', "a=b,c/d:e@f%g+h_i-j.k", "größe", "a b", "$(x)", "#", "~", "\n"]
    assert [shown([word]) for word in words] == [shlex.quote(word) for word in words]
    assert len(shown(["x" * 500])) == MAX_COMMAND_CHARS


def test_python_is_known_by_its_name():
    """A version, a debug build, a build without the lock; not a program that begins with the same letters."""
    names = ["python", "python3", "python3.12", "python3.13t", "python3.12d", "python3-dbg", "pypy3.10", "python2.7"]
    assert [name for name in names if not is_python_name(f"/usr/bin/{name}")] == []
    others = [
        "pythonw",
        "python3.",
        "python3.x",
        "python4",
        "python3.12-config",
        "python3t",
        "ipython",
        "py",
        "python2.7t",
    ]
    assert [name for name in others if is_python_name(name)] == []
