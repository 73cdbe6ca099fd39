"""150 clients by hand, each a process of its own, that lose their links in init and again after before_snapshot."""

import os
import sys
import time

import traced
from raw_client import Link, count_lost, wait_until

COUNT = int(sys.argv[1])


def child(told, go):
    Link().close()
    os.write(told, b".")
    os.read(go, 1)  # nothing comes: it ends when our parent closes its end
    link = Link()
    link.answer("before_snapshot")
    link.close()
    Link().answer("after_restore")
    time.sleep(60)


def main():
    told_read, told_write = os.pipe()
    go_read, go_write = os.pipe()
    for _ in range(COUNT):
        if os.fork() == 0:
            os.close(go_write)
            child(told_write, go_read)
    left = COUNT
    while left:
        left -= len(os.read(told_read, left))
    wait_until(lambda: count_lost() == COUNT)
    os.close(go_write)
    traced.record("up")
    time.sleep(60)


main()
