"""Database servers from Debian: one of each for all tests, on a port of its own, with the disk not waited for."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pymysql

from helpers import LIMIT_S, free_port, leave_out, wait_until

POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin"


class Postgres:
    """A PostgreSQL that lets everybody in. Each test has a name of its own, by which it finds its connections."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, name: str, driver: str = "") -> str:
        """What libraries take to connect; `driver` is SQLAlchemy's."""
        return f"postgresql{driver and '+'}{driver}://postgres@127.0.0.1:{self.port}/postgres?application_name={name}"

    def pids(self, name: str) -> set[int]:
        """The server's processes for the connections of that name."""
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres") as own:
            found = own.execute("select pid from pg_stat_activity where application_name = %s", (name,)).fetchall()
        return {pid for (pid,) in found}

    def running(self, name: str, query: str) -> int:
        """How many queries that begin with this run on connections of that name."""
        with psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres") as own:
            asked = "select 1 from pg_stat_activity where application_name = %s and state = 'active' and query like %s"
            return len(own.execute(asked, (name, f"{query}%")).fetchall())

    @contextlib.contextmanager
    def blocked(self) -> Iterator[Blocked]:
        """A query that runs until it is let go, or cancelled, on however many connections."""
        own = psycopg.pq.PGconn.connect(self.url("blocking").encode())  # which no integration knows
        try:
            yield Blocked(own)
        finally:
            own.finish()


class Blocked:
    """`query` waits for a lock of ours."""

    _numbers = itertools.count(1)

    def __init__(self, own: psycopg.pq.abc.PGconn) -> None:
        number = next(self._numbers)
        assert own.exec_(b"select pg_advisory_lock(%d)" % number).status == psycopg.pq.ExecStatus.TUPLES_OK
        self.query = f"select pg_advisory_lock_shared({number})"
        self._own = own

    def let_go_soon(self) -> None:
        """Some looks later; sooner or later makes no difference."""
        threading.Timer(0.2, self._own.finish).start()


class MariaDB:
    """A MariaDB that lets everybody in. Each test has a user of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def pids(self, name: str) -> set[int]:
        """The numbers of the connections of that user."""
        with contextlib.closing(pymysql.connect(host="127.0.0.1", port=self.port, user="looking")) as own:
            cursor = own.cursor()
            cursor.execute("select id from information_schema.processlist where user = %s", (name,))
            return {pid for (pid,) in cursor.fetchall()}


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    bins = sorted(Path("/").glob(POSTGRES_FOLDERS[1:]))
    if not bins:
        leave_out("PostgreSQL is not installed: `.ci/programs` does that, or says why it cannot")
    port = free_port()
    with _folder("postgres") as (folder, user):
        made = subprocess.run(
            [
                bins[-1] / "initdb",
                "-D",
                folder / "data",
                "-A",
                "trust",
                "-U",
                "postgres",
                "--no-sync",
                "--locale=C",
                "-E",
                "UTF8",
            ],
            user=user,
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert made.returncode == 0, made.stderr
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": folder,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with _running(
            [bins[-1] / "postgres", "-D", folder / "data", "-p", str(port), *options], folder, user, signal.SIGQUIT
        ):
            server = Postgres(port)
            wait_until(lambda: _answers(lambda: server.pids("")))
            yield server


@contextlib.contextmanager
def mariadb() -> Iterator[MariaDB]:
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        leave_out("MariaDB is not installed: `.ci/programs` does that, or says why it cannot")
    port = free_port()
    with _folder("mysql") as (folder, user):
        (folder / "data").mkdir()
        os.chown(folder / "data", *_ids(user))
        options = [
            *("--no-defaults", f"--datadir={folder / 'data'}", f"--socket={folder / 'socket'}", f"--port={port}"),
            *("--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-networking=0", "--skip-name-resolve"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M"),
            *("--pid-file=pid", "--skip-log-bin"),
        ]
        with _running([program, *options], folder, user, signal.SIGKILL):
            server = MariaDB(port)
            wait_until(lambda: _answers(lambda: server.pids("")))
            yield server


def _answers(ask: object) -> bool:
    with contextlib.suppress(psycopg.OperationalError, pymysql.err.OperationalError):
        ask()
        return True
    return False


def _ids(user: str | None) -> tuple[int, int]:
    return (-1, -1) if user is None else (pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)


@contextlib.contextmanager
def _folder(owner: str) -> Iterator[tuple[Path, str | None]]:
    """A folder that the server owns. No database runs as root: then it is the user that Debian made, or nobody."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = (owner if owner in names else "nobody") if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="snapext-"))
    try:
        os.chown(folder, *_ids(user))
        yield folder, user
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _running(command: list[object], folder: Path, user: str | None, stop: signal.Signals) -> Iterator[None]:
    """Nobody needs its data: it ends at once."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), user=user, cwd=folder, stdout=log, stderr=log)
    try:
        yield
    except BaseException:
        print((folder / "log").read_text(errors="replace")[-4000:])
        raise
    finally:
        process.send_signal(
            signal.SIGQUIT if "postgres" in str(command[0]) else signal.SIGKILL
        )  # nobody needs its data
        process.wait(LIMIT_S)
