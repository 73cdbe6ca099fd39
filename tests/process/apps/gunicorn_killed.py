"""gunicorn's settings for workers that are killed while they start, as where the memory is too small for them."""

import os
import signal
import time


def post_fork(_server, _worker):
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
