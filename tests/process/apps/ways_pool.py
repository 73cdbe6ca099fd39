"""The app of ways.py with a pool of two processes, made while it is imported: `ways_pool:wsgi`, or a script.

$POOL: `executor` or `pool`, and how its processes start.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import ways
from ways import wsgi  # noqa: F401 - what servers import

if __name__ != "__mp_main__":  # as a process that is spawned calls the program
    kind, start_method = os.environ["POOL"].split()
    context = multiprocessing.get_context(start_method)
    pool = ProcessPoolExecutor(2, mp_context=context) if kind == "executor" else context.Pool(2)
    assert list(pool.map(int, range(8))) == list(range(8))

if __name__ == "__main__":
    ways.serve()
