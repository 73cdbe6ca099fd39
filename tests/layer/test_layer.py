"""The layer as it is built: its files, its launcher, its wrapper, and what happens when something is in the way."""

from __future__ import annotations

import concurrent.futures
import json
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import Listener, namespaces
from snapext.protocol import Result
from snapext_extension.processes import parse_stat

SNAPEXT = [sys.executable, "-m", "snapext", "layer"]
PYTHON = str(Path(sys.executable).resolve())
LAMBDAS_PATH = f"{Path(PYTHON).parent}:/usr/bin:/bin"
"""An interpreter by its version's name, and little else: no virtual environment."""


def run(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SNAPEXT, *map(str, words)], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """An installed layer that nobody can write to, as on Lambda."""
    done = run("install", tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path / "opt"


class TestBuild:
    """`snapext layer build`."""

    def test_the_same_tree_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """Whenever and wherever it is built."""
        first, second = tmp_path / "first.zip", tmp_path / "second.zip"
        assert run("build", "-o", first, "--precompile", PYTHON).returncode == 0
        assert run("build", "-o", second, "--precompile", PYTHON, TZ="Asia/Tokyo", PYTHONHASHSEED="7").returncode == 0
        assert first.read_bytes() == second.read_bytes()

    def test_the_zip_is_small_and_holds_what_lambda_looks_for(self, tmp_path: Path) -> None:
        """Programs with run bits, one copy of both packages, nothing of the command line."""
        target = tmp_path / "layer.zip"
        assert run("build", "-o", target).returncode == 0
        assert target.stat().st_size < 150 * 1024
        modes = {info.filename: info.external_attr >> 16 for info in zipfile.ZipFile(target).infolist()}
        assert {name for name, mode in modes.items() if mode & 0o111} == {
            "bin/snapext",
            "extensions/snapext",
            "snapext/bootstrap",
        }
        assert "python/snapext/__init__.py" in modes
        assert "python/snapext/autostart/sitecustomize.py" in modes
        assert "python/snapext_extension/__main__.py" in modes
        assert [name for name in modes if "/cli/" in name or "/simulator/" in name or "doctor" in name] == []
        assert all(stat.S_ISREG(mode) for mode in modes.values())

    def test_an_existing_file_is_not_overwritten_unless_told_to(self, tmp_path: Path) -> None:
        """One line, and the file is as it was."""
        target = tmp_path / "layer.zip"
        target.write_text("mine")
        done = run("build", "-o", target)
        assert (done.returncode, target.read_text()) == (1, "mine")
        assert done.stderr.count("\n") == 1
        assert "--force" in done.stderr
        assert run("build", "-o", target, "--force").returncode == 0
        assert zipfile.is_zipfile(target)

    @pytest.mark.parametrize("target", ["/proc/layer.zip", "/no/such/folder/layer.zip"])
    def test_a_place_that_cannot_be_written_is_one_line(self, target: str) -> None:
        """Never a traceback."""
        done = run("build", "-o", target)
        assert done.returncode == 1
        assert f"{target} cannot be written" in done.stderr
        assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("interpreter", ["/no/such/python", "/usr/bin/false", "/usr/bin/true"])
    def test_an_interpreter_that_cannot_compile_leaves_nothing(self, interpreter: str, tmp_path: Path) -> None:
        """Nor half a zip."""
        done = run("build", "-o", tmp_path / "layer.zip", "--precompile", interpreter)
        assert done.returncode == 1
        assert interpreter in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_psutil_can_be_added_for_both_processors(self, tmp_path: Path) -> None:
        """Each below a folder named like `uname -m`; ours is imported from there."""
        for machine in ("x86_64", "aarch64"):
            _wheel(tmp_path / f"psutil-7.0.0-cp36-abi3-manylinux2014_{machine}.whl", machine)
        wheels = [word for path in sorted(tmp_path.glob("*.whl")) for word in ("--psutil", path)]
        target = tmp_path / "layer.zip"
        assert run("build", "-o", target, *wheels).returncode == 0
        with zipfile.ZipFile(target) as archive:
            for machine in ("x86_64", "aarch64"):
                assert archive.read(f"snapext/psutil/{machine}/psutil/__init__.py").decode() == machine
            assert not [name for name in archive.namelist() if "tests" in name or "METADATA" in name]

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (["requests-2.0-py3-none-any.whl"], "is not a wheel of psutil"),
            (["psutil-7.0.0-cp36-abi3-macosx_11_0_arm64.whl"], "is not a wheel of psutil for Linux"),
            (["psutil-1-cp36-abi3-manylinux1_x86_64.whl", "psutil-2-cp36-abi3-manylinux1_x86_64.whl"], "another"),
        ],
    )
    def test_a_wheel_that_does_not_fit_is_one_line(self, names: list[str], said: str, tmp_path: Path) -> None:
        """And no zip is written."""
        for name in names:
            _wheel(tmp_path / name, "x")
        done = run("build", "-o", tmp_path / "layer.zip", *(w for name in names for w in ("--psutil", tmp_path / name)))
        assert done.returncode == 1
        assert said in done.stderr
        assert not (tmp_path / "layer.zip").exists()

    def test_an_interpreter_named_twice_counts_once(self, tmp_path: Path) -> None:
        """And the command says for which versions it has compiled."""
        target = tmp_path / "layer.zip"
        done = run("build", "-o", target, "--precompile", PYTHON, "--precompile", PYTHON)
        names = zipfile.ZipFile(target).namelist()
        assert len(names) == len(set(names))
        assert f"precompiled for Python 3.{sys.version_info.minor}\n" in done.stdout


class TestInstall:
    """`snapext layer install`."""

    def test_what_is_there_already_stays(self, tmp_path: Path) -> None:
        """An adapter beside it, for example; an older snapext is replaced."""
        adapter = tmp_path / "opt" / "extensions" / "lambda-adapter"
        adapter.parent.mkdir(parents=True)
        adapter.write_text("adapter")
        assert run("install", tmp_path).returncode == 0
        assert run("install", tmp_path).returncode == 0
        assert adapter.read_text() == "adapter"
        assert sorted(path.name for path in (tmp_path / "opt").iterdir()) == ["bin", "extensions", "python", "snapext"]

    def test_another_user_can_read_it_whatever_the_umask_was(self, tmp_path: Path) -> None:
        """An image is built by root, and the function runs as somebody else."""
        subprocess.run(
            ["sh", "-c", 'umask 077; exec "$@"', "sh", *SNAPEXT, "install", tmp_path], check=True, timeout=60
        )
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "opt").rglob("*")}
        assert modes == {0o755, 0o644}

    @pytest.mark.parametrize("in_the_way", ["opt", "opt/python", "opt/extensions/snapext/x"])
    def test_something_in_the_way_is_named_and_nothing_is_written(self, in_the_way: str, tmp_path: Path) -> None:
        """A file where a folder has to be, or a folder where a file has to be."""
        path = tmp_path / in_the_way
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        before = sorted(tmp_path.rglob("*"))
        done = run("install", tmp_path)
        assert done.returncode == 1
        assert "in the way" in done.stderr
        assert done.stderr.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("name", ["snapext/bootstrap", "extensions/snapext"])
    def test_a_program_of_somebody_else_is_not_replaced(self, name: str, tmp_path: Path) -> None:
        """Two layers that both bring a file of that name: one of them would silently be lost."""
        theirs = tmp_path / "opt" / name
        theirs.parent.mkdir(parents=True)
        theirs.write_text("#!/bin/sh\nexec something else\n")
        done = run("install", tmp_path)
        assert done.returncode == 1
        assert f"{theirs} is in the way: it is not snapext's" in done.stderr
        assert [path for path in (tmp_path / "opt").rglob("*") if path.is_file()] == [theirs]

    def test_a_root_that_is_none_is_one_line(self, tmp_path: Path) -> None:
        """A misspelt path must not be made."""
        done = run("install", tmp_path / "rootfs")
        assert (done.returncode, done.stderr) == (1, f"Error: {tmp_path}/rootfs is not a folder\n")

    def test_a_root_that_cannot_be_written_is_one_line(self) -> None:
        """Not even by root."""
        done = run("install", "/proc")
        assert done.returncode == 1
        assert "/proc/opt cannot be written" in done.stderr


class TestLauncher:
    """`extensions/snapext`, as Lambda starts it."""

    def start(self, opt: Path, path: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": path, "PYTHONPATH": "/nonsense", "PYTHONHOME": "/nonsense"}
        return subprocess.run([opt / "extensions" / "snapext"], env=env, capture_output=True, text=True, timeout=20)

    def test_it_finds_a_python_by_name_and_is_isolated_from_the_apps_environment(self, opt: Path) -> None:
        """It comes as far as asking for the platform."""
        done = self.start(opt, str(Path(PYTHON).parent))
        assert done.returncode == 2
        assert "this is a Lambda extension" in done.stderr

    def test_a_platform_that_cannot_be_reached_is_one_line(self, opt: Path) -> None:
        """Never a traceback."""
        env = {"PATH": str(Path(PYTHON).parent), "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}
        done = subprocess.run([opt / "extensions/snapext"], env=env, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "127.0.0.1:1 (AWS_LAMBDA_RUNTIME_API) cannot be reached" in done.stderr

    def test_without_a_python_it_says_so(self, opt: Path) -> None:
        """In a namespace in which no interpreter can be run, in one line of JSON."""
        hide = "for f in /usr/bin/python3.1[1-4] /usr/local/bin/python3.1[1-4] /var/lang/bin/python3.1[1-4]; do"
        hide += ' [ ! -e "$f" ] || mount --bind /dev/null "$f"; done'
        script = f'mount --make-rprivate / && {hide}; PATH=/nowhere exec "$0"'
        launcher = str(opt / "extensions" / "snapext")
        done = subprocess.run(
            [*namespaces("--mount"), "sh", "-c", script, launcher], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 127
        assert "no python3.11 to python3.14" in json.loads(done.stderr)["message"]


class TestWrapper:
    """`snapext/bootstrap`, the AWS_LAMBDA_EXEC_WRAPPER."""

    def start(self, opt: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [opt / "snapext" / "bootstrap", *command],
            env={"PATH": os.environ["PATH"], **env},
            capture_output=True,
            text=True,
            timeout=20,
        )

    def test_a_handler_script_is_started_with_the_autostart_on_its_path(self, opt: Path, tmp_path: Path) -> None:
        """Before whatever PYTHONPATH the function has."""
        script = tmp_path / "run.sh"
        script.write_text('#!/bin/sh\necho "$PYTHONPATH $#"\n')
        script.chmod(0o755)
        env = {"LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "run.sh", "PYTHONPATH": "/var/task/lib"}
        done = self.start(opt, "/var/lang/bin/python3.12", "/var/runtime/bootstrap.py", **env)
        assert done.stdout == f"{opt}/python/snapext/autostart:/var/task/lib 0\n"

    def test_a_native_handler_is_handed_to_its_runtime_untouched(self, opt: Path, tmp_path: Path) -> None:
        """With its arguments, and without a PYTHONPATH of ours."""
        env = {"LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "app.handler"}
        done = self.start(opt, "sh", "-c", 'echo "${PYTHONPATH-none} $1"', "sh", "two words", **env)
        assert done.stdout == "none two words\n"

    @pytest.mark.parametrize(
        ("handler", "command", "said"),
        [
            ("plain.sh", ["true"], "is not executable: chmod +x"),
            ("absent.sh", ["true"], "does not exist"),
            ("app.handler", [], "no runtime to hand a native handler to"),
            ("", ["true"], "_HANDLER is not set"),
        ],
    )
    def test_a_handler_that_cannot_be_started_is_one_line(
        self, opt: Path, tmp_path: Path, handler: str, command: list[str], said: str
    ) -> None:
        """And a status that is not zero."""
        (tmp_path / "plain.sh").write_text("#!/bin/sh\n")
        done = self.start(opt, *command, LAMBDA_TASK_ROOT=str(tmp_path), _HANDLER=handler)
        assert done.returncode == 126
        assert said in done.stderr
        assert done.stderr.count("\n") == 1

    def test_with_signals_it_leaves_who_the_start_command_is(self, opt: Path, tmp_path: Path) -> None:
        """The handler's script has the pid that it had itself, and the script may start at any time after."""
        script = tmp_path / "run.sh"
        script.write_text("#!/bin/sh\necho $$ $SNAPEXT_SOCKET\ncat /proc/$$/stat\n")
        script.chmod(0o755)
        socket = tmp_path / "bridge" / "bridge.sock"
        env = {"LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "run.sh", "SNAPEXT_SOCKET": str(socket)}
        done = self.start(opt, "true", **env, SNAPEXT_SIGNALS="1")
        assert (done.returncode, done.stderr) == (0, "")
        said, now = done.stdout.splitlines()
        left = parse_stat((tmp_path / "bridge" / "start-command").read_bytes())
        assert said == f"{left.pid} {socket}"
        assert (left.pid, left.start_ticks) == (parse_stat(now.encode()).pid, parse_stat(now.encode()).start_ticks)
        assert stat.S_IMODE((tmp_path / "bridge").stat().st_mode) == 0o700

    def test_a_second_start_replaces_what_the_first_has_left(self, opt: Path, tmp_path: Path) -> None:
        """An environment that the platform has reset keeps its /tmp."""
        env = {"_HANDLER": "app.handler", "SNAPEXT_SOCKET": str(tmp_path / "bridge" / "bridge.sock")}
        for _ in range(2):
            done = self.start(opt, "sh", "-c", "echo $$", **env, SNAPEXT_TRANSPORT="signal")
            assert parse_stat((tmp_path / "bridge" / "start-command").read_bytes()).pid == int(done.stdout)

    def test_without_signals_it_leaves_nothing(self, opt: Path, tmp_path: Path) -> None:
        """Not even the folder."""
        env = {"_HANDLER": "app.handler", "SNAPEXT_SOCKET": str(tmp_path / "bridge" / "bridge.sock")}
        assert self.start(opt, "true", **env).returncode == 0
        assert not (tmp_path / "bridge").exists()

    def test_a_place_that_cannot_be_written_is_one_line(self, opt: Path) -> None:
        """Nobody could be told by signal: the function does not start."""
        env = {"_HANDLER": "app.handler", "SNAPEXT_SOCKET": "/proc/none/bridge.sock", "SNAPEXT_SIGNALS": "1"}
        done = self.start(opt, "true", **env)
        assert done.returncode == 126
        assert done.stderr.count("\n") == 1, done.stderr
        assert json.loads(done.stderr)["message"] == "/proc/none/start-command cannot be written"


class TestCommand:
    """`bin/snapext`, which a function finds on its PATH."""

    def start(self, opt: Path, folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [opt / "bin" / "snapext", *words],
            env={"PATH": LAMBDAS_PATH, "SNAPEXT_SOCKET": str(folder / "bridge.sock"), **env},
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
        )

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "bridge").mkdir(mode=0o700)
        return tmp_path / "bridge"

    def test_it_is_found_on_the_path(self, opt: Path) -> None:
        """By its name alone, as a script calls it."""
        env = {"PATH": f"{LAMBDAS_PATH}:{opt}/bin"}
        done = subprocess.run(["sh", "-c", "snapext"], env=env, capture_output=True, text=True, timeout=30)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: snapext checkpoint | done")

    def test_done_writes_the_pids_of_its_parents(self, opt: Path, folder: Path) -> None:
        """And what has failed."""
        os.mkfifo(folder / "done", 0o600)
        reader = os.open(folder / "done", os.O_RDWR | os.O_NONBLOCK)
        assert self.start(opt, folder, "done").returncode == 0
        assert os.read(reader, 4096).decode().strip().split(",")[0] == str(os.getpid())
        assert self.start(opt, folder, "done", "--failed", "no database").returncode == 0
        assert os.read(reader, 4096).decode().endswith(" failed no database\n")
        os.close(reader)

    @pytest.mark.parametrize(
        ("words", "said"),
        [(["done"], "nobody waits for this"), (["status"], "no extension listens"), (["checkpoint"], "no extension")],
    )
    def test_without_an_extension_each_is_one_line(self, opt: Path, folder: Path, words: list[str], said: str) -> None:
        """And status 1."""
        done = self.start(opt, folder, *words, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert said in done.stderr

    def test_a_checkpoint_where_there_is_no_snapshot_returns_at_once(self, opt: Path, folder: Path) -> None:
        """In silence."""
        done = self.start(opt, folder, "checkpoint", AWS_LAMBDA_INITIALIZATION_TYPE="on-demand")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_status_and_checkpoint_give_the_extensions_answer(self, opt: Path, folder: Path) -> None:
        """The status as text or JSON, the checkpoint as its exit status and one line."""
        status = {"mode": "gate", "phase": "init", "generation": 0, "environment_id": None}
        status |= {"processes": [], "boundary": {}}
        env = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        with Listener(folder / "bridge.sock") as listener, concurrent.futures.ThreadPoolExecutor() as pool:

            def ask(result: Result, *words: str) -> subprocess.CompletedProcess[str]:
                done = pool.submit(self.start, opt, folder, *words, **env)
                peer = listener.accept()
                assert peer.greet().role == "control"
                peer.send(result)
                return done.result()

            assert json.loads(ask(Result(True, status=status), "status", "--json").stdout) == status
            assert ask(Result(True, status=status), "status").stdout.startswith("phase        init (mode gate)\n")
            failed = ask(Result(False, "hook app.open failed", 65), "checkpoint")
            assert (failed.returncode, failed.stdout) == (65, "")
            assert failed.stderr == "snapext: hook app.open failed\n"

    def test_signal_is_refused_with_a_reason(self, opt: Path, folder: Path) -> None:
        """It is a simulation, and this is the platform."""
        done = self.start(opt, folder, "signal", "after-restore", "--all")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "the platform alone says when hooks run" in done.stderr

    @pytest.mark.parametrize("words", [["simulate", "--", "true"], ["layer"], ["doctor"], ["done", "now"], [], ["-h"]])
    def test_anything_else_is_the_usage(self, opt: Path, folder: Path, words: list[str]) -> None:
        """And where the rest is to be had."""
        done = self.start(opt, folder, *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("usage: snapext checkpoint | done [--failed MESSAGE] | status [--json]\n")
        assert "pip install lambda-snapext" in done.stderr

    def test_neither_the_functions_modules_nor_its_packages_are_looked_at(
        self, opt: Path, folder: Path, tmp_path: Path
    ) -> None:
        """A json.py in the function's folder is not ours to import, and click is not there."""
        task = tmp_path / "task"
        task.mkdir()
        for name in ("json", "socket", "os", "click", "sitecustomize"):
            (task / f"{name}.py").write_text("raise SystemExit('imported')")
        done = subprocess.run(
            [opt / "bin" / "snapext", "status"],
            env={"PATH": LAMBDAS_PATH, "PYTHONPATH": str(task), "SNAPEXT_SOCKET": str(folder / "bridge.sock")},
            cwd=task,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        assert "no extension listens" in done.stderr


def _wheel(path: Path, content: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("psutil/__init__.py", "psutil/tests/test_x.py", "psutil-7.0.0.dist-info/METADATA"):
            archive.writestr(name, content)
