"""How old a process is, as the kernel shows it: what began after a restore is told from what was there before."""

import os
import subprocess
import sys
import time

from snapext_extension.kernel.identity import new_identity
from snapext_extension.kernel.processes import stat

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def test_a_process_that_starts_next_comes_after_the_restore():
    """Its pid tells, even within the same clock tick."""
    identity = new_identity()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ticks = stat(child.pid).start_ticks
    child.communicate()

    assert (ticks, child.pid) > (identity.boot_ticks, identity.last_pid)


def test_the_name_the_parent_and_the_start_of_a_process_are_known():
    """A child's parent is us, and it began between two looks at the clock, to the tick."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    # A name with brackets and spaces in it must not shift the fields.
    code = "import sys; open('/proc/self/comm', 'w').write(') R 1 (x'); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        seen = stat(child.pid)
    finally:
        child.communicate()
    after = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert (child.pid, ") R 1 (x", os.getpid()) == (seen.pid, seen.name, seen.parent_pid)
    assert before - 0.02 <= seen.start_ticks / TICKS_PER_S <= after
