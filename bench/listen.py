"""From the answer to the register call until the extension listens: its socket for the processes, and the gate.

The runtime starts at the same time, so this does not add to a cold start, but it competes for the processor.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping

from bench.children import Children
from bench.life import TIMEOUT_S, free_ports
from bench.rounds import Measure
from bench.stage import BenchError, Stage
from snapext_tools.simulator.folder import EXTENSION

_REGISTERED = b"HTTP/1.1 200 OK\r\nLambda-Extension-Identifier: bench\r\nContent-Length: 2\r\n\r\n{}"
_LOOK_S = 0.0002


def listening(stage: Stage, adapter: str) -> Measure:
    """`listen_ms` of one start, with the adapter beside the extension, which reads the adapter's file for its kind."""

    def once() -> Mapping[str, float]:
        folder = stage.new_folder()
        port, gate_port = free_ports(2)
        path = folder / "bridge" / "bridge.sock"
        children = Children(folder / "log")
        command = [str(stage.opt(adapter, with_snapext=True) / "extensions" / EXTENSION)]
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(TIMEOUT_S)
            env = stage.environ(
                AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{server.getsockname()[1]}",
                AWS_LAMBDA_INITIALIZATION_TYPE="snap-start",
                AWS_LWA_PORT=str(port),
                AWS_LWA_READINESS_CHECK_PORT=str(gate_port),
                SNAPEXT_PORT=str(gate_port),
                SNAPEXT_SOCKET=str(path),
            )
            children.start(EXTENSION, command, env)
            try:
                with server.accept()[0] as call:
                    call.settimeout(TIMEOUT_S)
                    call.recv(65536)
                    call.sendall(_REGISTERED)
                    began = time.perf_counter()
                    until = began + TIMEOUT_S
                    wait(socket.AF_UNIX, str(path), until)
                    wait(socket.AF_INET, ("127.0.0.1", gate_port), until)
                    return {"listen_ms": (time.perf_counter() - began) * 1000}
            except TimeoutError as error:
                raise BenchError(f"the extension does not listen; it wrote: {children.last_words()}") from error
            finally:
                children.kill()
                stage.forget_compiled()

    return once


def wait(family: socket.AddressFamily, address: str | tuple[str, int], until: float) -> None:
    """Wait until a process listens there. Raises TimeoutError."""
    while True:
        with socket.socket(family) as probe:
            if probe.connect_ex(address) == 0:
                return
        if time.perf_counter() > until:
            raise TimeoutError
        time.sleep(_LOOK_S)  # nothing announces a listener: only a connection shows it
