"""What must not be taken for the socket's place, and why."""

import os
import socket

import pytest

from snapext.wire.place import UntrustedError, check_directory, check_pipe, connect

OURS = os.geteuid()
OTHER = OURS + 1


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "bridge"
    folder.mkdir(mode=0o700)
    return folder


def refused(look, *arguments):
    with pytest.raises(UntrustedError) as error:
        look(*arguments)
    return str(error.value)


def test_the_directory_is_looked_at_first(folder):
    """Neither the pipe nor the socket counts where others may enter, or where the directory is not ours."""
    path = str(folder / "bridge.sock")
    with socket.socket(socket.AF_UNIX) as peer:
        for look in (check_directory, check_pipe, lambda *place: connect(peer, *place)):
            assert refused(look, path, OTHER) == f"it belongs to user {OURS}, we are user {OTHER}"
            folder.chmod(0o711)
            assert refused(look, path, OURS) == "others may enter it (mode 0711, 0700 is needed)"
            folder.chmod(0o700)
    check_directory(path, OURS)
    with pytest.raises(FileNotFoundError):
        check_directory(str(folder / "none" / "bridge.sock"), OURS)


def test_only_a_socket_is_connected_to(folder):
    """By one of ours the pid of the process that listens is found out."""
    path = str(folder / "bridge.sock")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as peer:
        (folder / "bridge.sock").touch()
        assert refused(connect, peer, path, OURS) == "it is not a socket"
        os.unlink(path)
        server.bind(path)
        server.listen()
        assert connect(peer, path, OURS) == os.getpid()


def test_only_a_pipe_is_written_to(folder):
    """A file says how it came there."""
    path = str(folder / "done")
    (folder / "done").touch()
    assert refused(check_pipe, path, OURS).startswith("it is not a pipe but a file (a shell")
    os.unlink(path)
    (folder / "done").mkdir()
    assert refused(check_pipe, path, OURS) == "it is not a pipe"
    (folder / "done").rmdir()
    os.mkfifo(path)
    check_pipe(path, OURS)
