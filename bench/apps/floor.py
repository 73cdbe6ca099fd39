"""The floor: a bare runtime that, between the restore and its first invocation, sends a line to other bare processes
over Unix sockets and reads it back. `floor.py 0` does not even do that: it shows the cost of measuring itself.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.abspath(f"{__file__}/../../.."))

from bench.apps._http import RUNTIME, platform, serve

LINE = b'{"type":"ping","id":1}\n'
WARM_UP, HOT = 200, 2000


def main() -> None:
    peers = [start_peer() for _ in range(int(sys.argv[1]))]
    runtime = platform(os.environ["AWS_LAMBDA_RUNTIME_API"])
    runtime.ask("GET", f"{RUNTIME}/restore/next")
    cold_ms = round_trip(peers)
    runtime.send("GET", f"{RUNTIME}/invocation/next")
    serve(runtime, b"{}")
    hot = [round_trip(peers[:1]) for _ in range(WARM_UP + HOT)][WARM_UP:]
    path = os.path.join(os.environ["BENCH_FOLDER"], "pings")
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump({"cold_ms": cold_ms, "hot_ms": statistics.median(hot)}, file)
    os.rename(path + ".part", path)
    serve(runtime, b"{}")


def start_peer() -> socket.socket:
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while line := theirs.recv(4096):
            theirs.sendall(line)
        os._exit(0)
    theirs.close()
    return ours


def round_trip(peers: list[socket.socket]) -> float:
    """Ms until each has answered; it sends to all before it reads the first answer."""
    began = time.perf_counter()
    for peer in peers:
        peer.sendall(LINE)
    for peer in peers:
        peer.recv(4096)
    return (time.perf_counter() - began) * 1000


main()
