"""The app of ways.py, which does something else before it serves: `python ways_starts.py WHAT`."""

import os
import sys


def wait_until_joined():
    import snapext

    while not snapext.status().connected:
        os.sched_yield()


what = sys.argv[1]
if what == "exec":  # as servers do that start themselves anew
    import ways

    wait_until_joined()
    os.execv(sys.executable, [sys.executable, __file__, "serve"])
elif what == "crash":  # the first time
    import ways

    wait_until_joined()
    try:
        os.close(os.open(os.environ["MARK"], os.O_CREAT | os.O_EXCL))
        os._exit(70)
    except FileExistsError:
        pass
elif what == "daemon":
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)

import ways  # noqa: E402

ways.serve()
