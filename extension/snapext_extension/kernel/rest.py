"""Whether a thread waits for something from outside, as a server does that is up. Pure: the caller does the reading.

Under a CPU limit a process that still has work to do is runnable (R), however little CPU it gets. This tells it from a
process that waits; no span of time does.
"""

from __future__ import annotations

# The calls that servers wait in, and those that a wait goes on in: after a stop the kernel resumes poll, nanosleep and
# futex as restart_syscall. Numbers of arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_WAITS = {
    "x86_64": {
        "read": 0, "poll": 7, "readv": 19, "select": 23, "pause": 34, "nanosleep": 35, "accept": 43, "recvfrom": 45,
        "recvmsg": 47, "wait4": 61, "semop": 65, "rt_sigtimedwait": 128, "rt_sigsuspend": 130, "futex": 202,
        "restart_syscall": 219, "semtimedop": 220, "clock_nanosleep": 230, "epoll_wait": 232, "waitid": 247,
        "pselect6": 270, "ppoll": 271, "epoll_pwait": 281, "accept4": 288, "recvmmsg": 299, "io_uring_enter": 426,
        "epoll_pwait2": 441, "futex_waitv": 449,
    },
    "aarch64": {
        "epoll_pwait": 22, "read": 63, "readv": 65, "pselect6": 72, "ppoll": 73, "waitid": 95, "futex": 98,
        "nanosleep": 101, "clock_nanosleep": 115, "restart_syscall": 128, "rt_sigsuspend": 133,
        "rt_sigtimedwait": 137, "semtimedop": 192, "semop": 193, "accept": 202, "recvfrom": 207, "recvmsg": 212,
        "accept4": 242, "recvmmsg": 243, "wait4": 260, "io_uring_enter": 426, "epoll_pwait2": 441,
        "futex_waitv": 449,
    },
}  # fmt: skip
_NUMBERS = {machine: frozenset(calls.values()) for machine, calls in _WAITS.items()}


_FUTEX = {machine: calls["futex"] for machine, calls in _WAITS.items()}


def may_wait_for_a_thread(syscall: bytes, machine: str) -> bool:
    """Whether a thread waits for a lock: that is also how Python's threads wait for their turn (the GIL).

    With a timeout for the turn itself, and without one for the other thread to take it (ceval_gil.c, FORCE_SWITCHING).
    """
    return syscall.split(b" ", 1)[0] == b"%d" % _FUTEX.get(machine, -1)


def waits(state: str, syscall: bytes, machine: str) -> bool:
    """Whether a thread in `state` (see proc(5)) waits.

    syscall: what /proc/PID/syscall says; empty when it may not be read. Then, and on a machine whose numbers are not
        known, the state alone counts.
    """
    if state != "S":
        return False
    numbers = _NUMBERS.get(machine)
    word = syscall.partition(b" ")[0].strip()
    if numbers is None or not word:
        return True
    return word.isdigit() and int(word) in numbers  # `running`, or -1: in the kernel, but in no call (a page fault)
