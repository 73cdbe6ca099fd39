"""Apps that do rough things around their hooks, each as ROUGH says; all of them serve on 127.0.0.1:$PORT."""

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import snapext

ROUGH = os.environ["ROUGH"]
ran = []


def note():
    ran.append(os.getpid())


snapext.register_before_snapshot(note)


def warm_up_a_pool():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert pool.submit(abs, -1).result(20) == 1


def fork_and_wait():
    if os.fork() == 0:
        time.sleep(0.1)  # the child is still there when the hooks of a process that joins would run
        os._exit(0)
    os.wait()


def close_pool():
    pool.terminate()
    pool.join()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        untouched = mine is None or mine[1].recv(100, socket.MSG_DONTWAIT | socket.MSG_PEEK) == b"mine"
        good = self.path == "/ready" or (ran == [os.getpid()] and untouched)
        self.send_response(200 if good else 500)
        self.end_headers()

    def log_message(self, *args):
        pass


mine = None
pool = None
if ROUGH == "pool in a hook":
    snapext.register_before_snapshot(warm_up_a_pool)
elif ROUGH == "fork in a hook":
    snapext.register_after_restore(fork_and_wait)
elif ROUGH == "pool closed by a hook":
    pool = multiprocessing.get_context("fork").Pool(2)
    snapext.register_before_snapshot(time.sleep, 0.1)
    snapext.register_before_snapshot(close_pool)
elif ROUGH == "closes every descriptor":
    deadline = time.monotonic() + 10
    while not snapext.status().connected and time.monotonic() < deadline:
        time.sleep(0.001)
    os.closerange(3, 256)
    pairs = [socket.socketpair() for _ in range(20)]  # they get the numbers that were closed
    for ours, _theirs in pairs:
        ours.sendall(b"mine")
    mine = pairs[0]
elif ROUGH == "forks all the time":

    def churn():
        while True:
            if os.fork() == 0:
                time.sleep(0.05)
                os._exit(0)
            os.wait()

    threading.Thread(target=churn, daemon=True).start()
elif ROUGH == "asks and forks in a signal handler":

    def handler(_number, _frame):
        snapext.status()
        snapext.is_restored()
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        if time.monotonic() < until:  # no period: on a busy machine the handler takes longer than that
            signal.setitimer(signal.ITIMER_REAL, 0.005)

    until = time.monotonic() + 1
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005)
    while time.monotonic() < until:
        snapext.status()
        snapext.is_restored()
    signal.setitimer(signal.ITIMER_REAL, 0)
elif ROUGH == "waits for a blocked signal":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signal.sigwait({signal.SIGUSR1}) == signal.SIGUSR1
elif ROUGH == "removes our modules and imports them again":
    for name in [name for name in sys.modules if name.partition(".")[0] in ("snapext", "snapshot_restore_py")]:
        del sys.modules[name]
    import snapshot_restore_py

    snapshot_restore_py.register_after_restore(print, "hook of the second copy")

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
