"""No extension, a dead socket, a bridge that dies: the app serves as if snapext were not there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

import snapext
from helpers import LIMIT_S, free_port, wait_until
from lives import APPS, BIN

SERVERS = {
    "gunicorn": "gunicorn -b 127.0.0.1:{port} -w 2 --preload tracing_flask:app",
    "uvicorn": "uvicorn --port {port} tracing_fastapi:app --log-level warning",
    "http.server": "python tracing_http_server.py",
}


@contextmanager
def serving(command: str, tmp_path: Path, socket_path: str) -> Iterator[str]:
    """A server started as by a user outside Lambda; yields its URL, and checks its output."""
    port = free_port()
    words = command.format(port=port).split()
    env = {
        **os.environ,
        "PORT": str(port),
        "TRACE_FILE": str(tmp_path / "trace"),
        "SNAPEXT_SOCKET": socket_path,
        "PYTHONPATH": str(Path(snapext.__file__).parent / "autostart"),
    }
    with (tmp_path / "output").open("w+") as output:
        process = subprocess.Popen(
            [str(BIN / words[0]), *words[1:]], cwd=APPS, env=env, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_until(lambda: answers(url), 20)
            yield url
        finally:
            process.terminate()
            process.wait(LIMIT_S)
        output.seek(0)
        assert "snapext" not in output.read()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=LIMIT_S).status_code == 200
    except requests.RequestException:
        return False


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS.keys())
def test_an_app_without_an_extension_serves_and_says_nothing(command: str, tmp_path: Path) -> None:
    """There is no socket: no hook runs, nothing is printed."""
    with serving(command, tmp_path, str(tmp_path / "absent" / "bridge.sock")) as url:
        answer = requests.get(url, timeout=LIMIT_S).json()
    assert answer["ran"] == []
    assert answer["restored"] is False


def test_a_socket_that_nobody_listens_on_is_as_good_as_none(tmp_path: Path) -> None:
    """Left behind by something that was killed."""
    folder = tmp_path / "bridge"
    folder.mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(folder / "bridge.sock"))
    dead.close()
    with serving(SERVERS["http.server"], tmp_path, str(folder / "bridge.sock")) as url:
        assert requests.get(url, timeout=LIMIT_S).json()["ran"] == []


def test_an_app_outlives_the_bridge(tmp_path: Path) -> None:
    """The other end dies in the middle of a message; requests are served as before."""
    folder = tmp_path / "bridge"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "bridge.sock"))
        server.listen()
        server.settimeout(20)
        with serving(SERVERS["gunicorn"], tmp_path, str(folder / "bridge.sock")) as url:
            for _ in range(3):
                peer, _ = server.accept()
                peer.recv(4096)
                peer.sendall(b'{"type":"before_snap')
                peer.close()
            server.close()
            assert answers(url)
            assert requests.get(url, timeout=LIMIT_S).json()["ran"] == []


def test_an_app_whose_hooks_fail_to_link_still_starts(tmp_path: Path) -> None:
    """Even a system that gives no threads and no sockets must not keep the app from importing."""
    code = (
        "import resource, snapext; resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3));"
        "snapext.register_after_restore(print); snapext.connect(); print('up')"
    )
    env = {**os.environ, "SNAPEXT_SOCKET": str(tmp_path / "absent.sock")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "up\n", "")
