"""The layer as it is built: its files, its launcher, its wrapper, and what happens when something is in the way."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import pytest

from helpers import Listener, namespaces
from snapext.wire import VERSION
from snapext.wire.messages import Result
from snapext_extension.kernel.processes import parse_stat
from snapext_layer.interpreters import PTH_LINE, pth_files

SNAPEXT = [sys.executable, "-m", "snapext", "layer"]
PYTHON = str(Path(sys.executable).resolve())
LAMBDAS_PATH = f"{Path(PYTHON).parent}:/usr/bin:/bin"
"""An interpreter by its version's name, and little else: no virtual environment."""
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "_HANDLER": "app.handler"}


def run(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SNAPEXT, *map(str, words)], capture_output=True, text=True, timeout=60, env={**os.environ, **env}
    )


@pytest.fixture
def opt(tmp_path: Path) -> Path:
    """An installed layer that is read-only, as on Lambda."""
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
        """Programs with run bits, one copy of both packages, nothing of the command line, nor for tests."""
        target = tmp_path / "layer.zip"
        assert run("build", "-o", target).returncode == 0
        assert target.stat().st_size < 300 * 1024  # Lambda keeps it unpacked: what a start reads counts, see bench
        modes = {info.filename: info.external_attr >> 16 for info in zipfile.ZipFile(target).infolist()}
        assert {name for name, mode in modes.items() if mode & 0o111} == {
            "bin/snapext",
            "extensions/snapext",
            "snapext/bootstrap",
        }
        assert "snapext/python/snapext/__init__.py" in modes
        assert "snapext/python/snapext/autostart/sitecustomize.py" in modes
        assert "snapext/python/snapext_extension/__main__.py" in modes
        others = ("/cli/", "/simulator/", "doctor", "/testing/", "pytest")
        assert [name for name in modes if any(part in name for part in others)] == []
        assert all(stat.S_ISREG(mode) for mode in modes.values())

    def test_nothing_lies_where_other_layers_lie(self, tmp_path: Path) -> None:
        """Layers are merged file by file: a name that another one may have, one of the two loses."""
        target = tmp_path / "layer.zip"
        assert run("build", "-o", target, "--precompile", PYTHON).returncode == 0
        names = zipfile.ZipFile(target).namelist()
        shared = [name for name in names if not name.startswith("snapext/")]
        compiled = f"python/snapext/__pycache__/__init__.cpython-3{sys.version_info.minor}.pyc"
        assert shared == ["bin/snapext", "extensions/snapext", "python/snapext/__init__.py", compiled]

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

    def test_every_module_is_compiled(self, tmp_path: Path) -> None:
        """/opt is read-only on Lambda: what is not compiled is compiled anew in every environment and process."""
        target = tmp_path / "layer.zip"
        assert run("build", "-o", target, "--precompile", PYTHON).returncode == 0
        with zipfile.ZipFile(target) as archive:
            names = archive.namelist()
            compiled = {name: archive.read(name) for name in names if name.endswith(".pyc")}
        wanted = {cache_from_source(name, optimization="") for name in names if name.endswith(".py")}
        assert wanted == set(compiled)
        assert len(wanted) > 100
        unchecked = {name for name, code in compiled.items() if code[:8] == MAGIC_NUMBER + b"\1\0\0\0"}
        assert unchecked == wanted, "a file's date would be compared with the source's"
        assert target.stat().st_size < 900 * 1024

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
        """Root builds an image, and the function runs as another user."""
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
        """If two layers have a file of that name, one of them is lost without a message."""
        theirs = tmp_path / "opt" / name
        theirs.parent.mkdir(parents=True)
        theirs.write_text("#!/bin/sh\nexec something else\n")
        done = run("install", tmp_path)
        assert done.returncode == 1
        assert f"{theirs} is in the way: it is not snapext's" in done.stderr
        assert [path for path in (tmp_path / "opt").rglob("*") if path.is_file()] == [theirs]

    def test_another_project_of_our_name_is_not_replaced(self, tmp_path: Path) -> None:
        """There is one in the package index, and another layer may contain it."""
        theirs = tmp_path / "opt" / "python" / "snapext" / "__init__.py"
        theirs.parent.mkdir(parents=True)
        theirs.write_text("def photograph(): ...\n")
        done = run("install", tmp_path)
        assert done.returncode == 1
        assert f"{theirs} is in the way: it is another project of that name" in done.stderr
        assert [path for path in (tmp_path / "opt").rglob("*") if path.is_file()] == [theirs]

    def test_nothing_of_an_older_snapext_is_left(self, tmp_path: Path) -> None:
        """Its compiled files above all, which Python does not check: the old code would run. Other files stay."""
        older = tmp_path / "opt" / "python" / "snapext"
        for path in (older / "__init__.py", older / "__pycache__" / "__init__.cpython-312.pyc", older / "_link.py"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("from snapext.hooks.registry import register_before_snapshot")
        theirs = tmp_path / "opt" / "python" / "dataclasses.py"
        theirs.write_text("theirs")
        assert run("install", tmp_path, "--precompile", PYTHON).returncode == 0
        assert run("install", tmp_path).returncode == 0
        assert list((tmp_path / "opt").rglob("*.pyc")) == []
        assert sorted(path.name for path in (tmp_path / "opt" / "python").rglob("*") if path.is_file()) == [
            "__init__.py",
            "dataclasses.py",
        ]
        assert theirs.read_text() == "theirs"

    def test_a_root_that_is_none_is_one_line(self, tmp_path: Path) -> None:
        """A misspelt path must not be made."""
        done = run("install", tmp_path / "rootfs")
        assert (done.returncode, done.stderr) == (1, f"Error: {tmp_path}/rootfs is not a folder\n")

    def test_a_root_that_cannot_be_written_is_one_line(self) -> None:
        """Not even by root."""
        done = run("install", "/proc")
        assert done.returncode == 1
        assert "/proc/opt cannot be written" in done.stderr


INTERPRETERS = {
    "an official image": ("usr/local/lib/python3.12/site-packages", "usr/local/lib/python3.12"),
    "AWS's image": ("var/lang/lib/python3.13/site-packages", "var/lang/lib/python3.13"),
    "Amazon Linux": ("usr/lib64/python3.11/site-packages", "usr/lib64/python3.11"),
    "Debian": ("usr/lib/python3/dist-packages", "usr/lib/python3.11"),
    "conda": ("opt/conda/lib/python3.14/site-packages", "opt/conda/lib/python3.14"),
    "pyenv": ("root/.pyenv/versions/3.12.1/lib/python3.12/site-packages", "root/.pyenv/versions/3.12.1/lib/python3.12"),
    "uv": ("root/.local/share/uv/python/cpython-3.13.0-linux-x86_64-gnu/lib/python3.13t/site-packages", None),
}


class TestImagesInterpreters:
    """The .pth file that `snapext layer install` writes beside an interpreter's packages."""

    def python(self, root: Path, packages: str, library: str | None = None) -> Path:
        """The folders of an interpreter below `root`; returns where the .pth file belongs."""
        place = root / packages
        place.mkdir(parents=True)
        standard = place.parent if library is None else root / library
        standard.mkdir(exist_ok=True)
        (standard / "os.py").touch()
        return place / "snapext.pth"

    @pytest.mark.parametrize("name", INTERPRETERS)
    def test_each_interpreter_is_found_where_its_makers_put_it(self, name: str, tmp_path: Path) -> None:
        """And the command names them."""
        pth = self.python(tmp_path, *INTERPRETERS[name])
        done = run("install", tmp_path)
        assert done.returncode == 0, done.stderr
        assert pth.read_text() == PTH_LINE
        assert stat.S_IMODE(pth.stat().st_mode) == 0o644
        assert f"{pth}: links the processes of this Python\n" in done.stdout

    def test_what_is_no_interpreter_of_ours_gets_nothing(self, tmp_path: Path) -> None:
        """An older one, packages without a standard library, and one that a link leads to, out of the image."""
        self.python(tmp_path / "image", "usr/lib/python3.10/site-packages")
        (tmp_path / "image" / "usr/local/lib/python3.12/site-packages").mkdir(parents=True)
        outside = self.python(tmp_path / "machine", "lib/python3.12/site-packages")
        (tmp_path / "image" / "usr" / "lib64").symlink_to(tmp_path / "machine" / "lib")
        done = run("install", tmp_path / "image")
        assert done.returncode == 0
        assert "the image needs ENV PYTHONPATH=/opt/snapext/python/snapext/autostart\n" in done.stdout
        assert not outside.exists()
        everywhere, in_opt = ({*place.rglob("*.pth")} for place in (tmp_path / "image", tmp_path / "image" / "opt"))
        assert everywhere == in_opt

    def test_two_names_of_one_folder_are_one(self, tmp_path: Path) -> None:
        """lib64 is a link to lib in many images."""
        pth = self.python(tmp_path, "usr/lib/python3.12/site-packages")
        (tmp_path / "usr" / "lib64").symlink_to("lib")
        assert pth_files(tmp_path) == [pth]

    def test_a_virtual_environment_that_is_named_is_linked(self, tmp_path: Path) -> None:
        """By its path in the image. A later install replaces the line."""
        venv.create(tmp_path / "app" / ".venv", symlinks=True, with_pip=False)
        (packages,) = (tmp_path / "app" / ".venv" / "lib").glob("*/site-packages")
        (packages / "snapext.pth").write_text("import snapext_of_last_year\n")
        done = run("install", tmp_path, "--venv", "/app/.venv")
        assert done.returncode == 0, done.stderr
        assert (packages / "snapext.pth").read_text() == PTH_LINE
        assert sorted(path.name for path in packages.iterdir()) == ["snapext.pth"]

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("/app", "app is not a virtual environment: there is no pyvenv.cfg in it"),
            ("/old", "old has no Python from 3.11 on"),
        ],
    )
    def test_a_virtual_environment_that_is_none_is_one_line(self, path: str, said: str, tmp_path: Path) -> None:
        """And nothing is written."""
        (tmp_path / "app").mkdir()
        (tmp_path / "old" / "lib" / "python3.9" / "site-packages").mkdir(parents=True)
        (tmp_path / "old" / "pyvenv.cfg").touch()
        done = run("install", tmp_path, "--venv", path)
        assert (done.returncode, done.stderr) == (1, f"Error: {tmp_path}/{said}\n")
        assert not (tmp_path / "opt").exists()

    def test_a_file_of_somebody_else_is_not_replaced(self, tmp_path: Path) -> None:
        """And nothing is written."""
        pth = self.python(tmp_path, *INTERPRETERS["an official image"])
        pth.write_text("import something_else\n")
        done = run("install", tmp_path)
        assert (done.returncode, done.stderr) == (1, f"Error: {pth} is in the way: it is not snapext's\n")
        assert not (tmp_path / "opt").exists()


class TestForwarder:
    """`python/snapext`, all that the layer has in /opt/python."""

    def start(self, opt: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PYTHON, "-s", "-c", code],
            env={"PYTHONPATH": str(opt / "python"), "PYTHONDONTWRITEBYTECODE": "1", **env},
            capture_output=True,
            text=True,
            timeout=30,
        )

    CODE = """if True:
        import importlib, inspect, sys
        import snapext
        import snapext.hooks.registry
        from snapext import errors, register_after_restore
        assert sys.modules["snapext"] is snapext is importlib.reload(snapext)
        assert snapext.__spec__.origin == snapext.__file__, snapext.__spec__
        assert inspect.getsource(snapext) == open(snapext.__file__).read()
        print(*(module.__file__ for module in (snapext, snapext.hooks.registry, errors)), *snapext.__path__)
    """

    @pytest.mark.parametrize("autostart", [False, True], ids=["alone", "with the autostart"])
    def test_it_gives_the_one_copy(self, autostart: bool, opt: Path) -> None:
        """Submodules too, and the module looks as if it had come from there."""
        path = f"{opt}/python:{opt}/snapext/python/snapext/autostart" if autostart else f"{opt}/python"
        done = self.start(opt, self.CODE, PYTHONPATH=path)
        real = f"{opt}/snapext/python/snapext"
        assert done.stderr == ""
        assert done.stdout.split() == [
            f"{real}/{name}" for name in ("__init__.py", "hooks/registry.py", "errors.py")
        ] + [real]

    def test_files_of_an_older_layer_beside_it_are_not_looked_at(self, opt: Path) -> None:
        """Another layer version may have been merged into the same folder."""
        for name in ("_registry.py", "errors.py", "only_there.py"):
            (opt / "python" / "snapext" / name).write_text("raise SystemExit('of an older layer')")
        done = self.start(opt, self.CODE + "    import snapext.only_there")
        assert done.stdout.count("/snapext/python/snapext/") == 3
        assert done.stderr.endswith("ModuleNotFoundError: No module named 'snapext.only_there'\n")

    def test_without_the_rest_of_the_layer_it_says_what_is_missing(self, opt: Path) -> None:
        """Somebody has copied /opt/python alone."""
        shutil.rmtree(opt / "snapext")
        done = self.start(opt, "import snapext")
        assert f"{opt}/snapext/python/snapext is missing" in done.stderr.splitlines()[-1]

    def test_another_layers_modules_are_found_by_the_app_and_not_by_us(self, opt: Path, tmp_path: Path) -> None:
        """Its json.py or dataclasses.py is the app's to import, and neither the extension's nor the command's."""
        names = ("os", "socket", "json", "dataclasses", "select", "typing", "snapext_extension", "theirs")
        for name in names:
            (opt / "python" / f"{name}.py").write_text(f"print('{name} of another layer')")
        done = self.start(opt, "import theirs, dataclasses")
        assert {"theirs of another layer", "dataclasses of another layer"} <= {*done.stdout.splitlines()}

        env = {"PATH": LAMBDAS_PATH, "PYTHONPATH": str(opt / "python"), "PYTHONUSERBASE": str(opt / "python")}
        for command, said in (
            ([opt / "extensions" / "snapext"], "this is a Lambda extension"),
            ([opt / "bin" / "snapext", "status"], "no extension listens"),
        ):
            env["SNAPEXT_SOCKET"] = str(tmp_path / "bridge.sock")
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20)
            assert said in done.stderr
            assert done.stdout == ""


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

    def test_our_folder_comes_behind_the_standard_library_and_the_process_is_marked(self, opt: Path) -> None:
        """As `snapext`'s own: importing snapext does not link it."""
        main = opt / "snapext" / "python" / "snapext_extension" / "__main__.py"
        main.write_text("import sys\ndef main(argv):\n print(sys._snapext_own, *sys.path, flush=True)\n return 0\n")
        own, *path = self.start(opt, str(Path(PYTHON).parent)).stdout.split()
        bare = subprocess.run(
            [PYTHON, "-I", "-S", "-c", "import sys; print(*sys.path[1:])"], capture_output=True, text=True
        )
        assert own == "True"
        assert path[-1] == f"{opt}/snapext/python"
        assert path[1:-1] == bare.stdout.split()[-len(path[1:-1]) :]
        assert str(opt / "python") not in path

    def test_a_platform_that_cannot_be_reached_is_one_line(self, opt: Path) -> None:
        """Never a traceback."""
        env = {"PATH": str(Path(PYTHON).parent), "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1"}
        done = subprocess.run([opt / "extensions/snapext"], env=env, capture_output=True, text=True, timeout=20)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "cannot reach the platform at 127.0.0.1:1 (AWS_LAMBDA_RUNTIME_API)" in done.stderr

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
        assert done.stdout == f"{opt}/snapext/python/snapext/autostart:/var/task/lib 0\n"

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
        for init_type in ({}, {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}):
            assert self.start(opt, "true", **env, **init_type).returncode == 0
            assert not (tmp_path / "bridge").exists()

    @pytest.mark.parametrize("mode", ["off", "false"])
    def test_with_mode_off_it_starts_the_script_and_leaves_nothing(self, opt: Path, tmp_path: Path, mode: str) -> None:
        """Not even where signals are set and the place cannot be written. What imports snapext still finds it."""
        script = tmp_path / "run.sh"
        script.write_text('#!/bin/sh\necho "$PYTHONPATH"\n')
        script.chmod(0o755)
        env = {"LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "run.sh", "SNAPEXT_MODE": mode, "SNAPEXT_SIGNALS": "1"}
        snap_start = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
        done = self.start(opt, **env, **snap_start, SNAPEXT_SOCKET="/proc/none/bridge.sock")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{opt}/snapext/python/snapext/autostart\n"
        self.start(opt, **env, **snap_start, SNAPEXT_SOCKET=str(tmp_path / "bridge" / "bridge.sock"))
        assert not (tmp_path / "bridge").exists()

    def test_the_user_site_is_ours_only_where_it_is_unset(self, opt: Path, tmp_path: Path) -> None:
        """Set to nothing is unset, as for Python."""
        script = tmp_path / "run.sh"
        script.write_text('#!/bin/sh\necho "$PYTHONUSERBASE"\n')
        script.chmod(0o755)
        env = {"LAMBDA_TASK_ROOT": str(tmp_path), "_HANDLER": "run.sh"}
        ours = f"{opt}/snapext/python/snapext/autostart/user-base\n"
        assert self.start(opt, **env).stdout == self.start(opt, **env, PYTHONUSERBASE="").stdout == ours
        assert self.start(opt, **env, PYTHONUSERBASE="/theirs").stdout == "/theirs\n"
        assert sorted(path.name for path in Path(ours.strip(), "lib").iterdir()) == [
            f"python{version}" for version in ("3.11", "3.12", "3.13", "3.13t", "3.14", "3.14t")
        ]

    def test_a_place_that_cannot_be_written_is_one_line(self, opt: Path) -> None:
        """No process could be signalled: the function does not start."""
        env = {"_HANDLER": "app.handler", "SNAPEXT_SOCKET": "/proc/none/bridge.sock", "SNAPEXT_SIGNALS": "1"}
        done = self.start(opt, "true", **env)
        assert done.returncode == 126
        assert done.stderr.count("\n") == 1, done.stderr
        assert json.loads(done.stderr)["message"] == "/proc/none/start-command cannot be written"


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
class TestStartCommand:
    """What `snapext/bootstrap` leaves in every SnapStart environment, for the extension to find the app's processes."""

    def start(self, shell: str, opt: Path, socket: Path, **env: str) -> subprocess.CompletedProcess[str]:
        """Through the wrapper, a shell that prints its own pid."""
        return subprocess.run(
            [*shell.split(), opt / "snapext" / "bootstrap", "sh", "-c", "echo $$"],
            env={"PATH": os.environ["PATH"], **SNAP_START, "SNAPEXT_SOCKET": str(socket), **env},
            capture_output=True,
            text=True,
            timeout=20,
        )

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "bridge").mkdir(mode=0o700)
        return tmp_path / "bridge"

    @pytest.mark.parametrize("made_by", ["us", "the extension", "nobody, nor its parent"])
    def test_it_is_left_whoever_made_the_folder(self, shell: str, made_by: str, opt: Path, tmp_path: Path) -> None:
        """The extension and the wrapper start at the same time. Nothing else is left, and nothing is said."""
        folder = tmp_path / "bridge" / "more" if "nor" in made_by else tmp_path / "bridge"
        if made_by == "the extension":
            folder.mkdir(mode=0o700)
        done = self.start(shell, opt, folder / "bridge.sock")
        assert (done.returncode, done.stderr) == (0, "")
        assert parse_stat((folder / "start-command").read_bytes()).pid == int(done.stdout)
        assert [path.name for path in folder.iterdir()] == ["start-command"]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_without_a_socket_named_it_is_the_users_own_folder(self, shell: str, opt: Path) -> None:
        """In a namespace with its own /tmp."""
        look = "echo $$ $SNAPEXT_SOCKET; cat /tmp/snapext-*/start-command; ls -d /tmp/*"
        script = (
            f'mount --bind {opt} /opt && mount -t tmpfs tmpfs /tmp && exec {shell} /opt/snapext/bootstrap sh -c "$0"'
        )
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f"mkdir -p /opt; mount --make-rprivate / && {script}", look],
            env={"PATH": os.environ["PATH"], **SNAP_START},
            capture_output=True,
            text=True,
            timeout=20,
        )
        said, left, made = done.stdout.splitlines()
        assert done.stderr == ""
        assert made == f"/tmp/snapext-{os.geteuid()}"
        assert said == f"{parse_stat(left.encode()).pid} {made}/bridge.sock"

    @pytest.mark.parametrize("target", ["file", "absent"])
    def test_a_link_in_its_place_is_replaced_and_not_followed(
        self, shell: str, target: str, opt: Path, folder: Path, tmp_path: Path
    ) -> None:
        """What it leads to stays as it is."""
        (tmp_path / "file").write_text("mine")
        (folder / "start-command").symlink_to(tmp_path / target)
        done = self.start(shell, opt, folder / "bridge.sock")
        assert (done.returncode, done.stderr) == (0, "")
        assert not (folder / "start-command").is_symlink()
        assert parse_stat((folder / "start-command").read_bytes()).pid == int(done.stdout)
        assert (tmp_path / "file").read_text() == "mine"
        assert not (tmp_path / "absent").exists()

    @pytest.mark.parametrize("what", ["link", "open", "somebody's", "file", "folder in its place", "link to a folder"])
    def test_a_place_that_is_not_ours_alone_is_not_used_and_the_app_starts(
        self, shell: str, what: str, opt: Path, tmp_path: Path
    ) -> None:
        """With one line that names it. With signals the app does not start: no process could be signalled."""
        folder, elsewhere = tmp_path / "bridge", tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        if what == "link":
            folder.symlink_to(elsewhere)
        elif what == "file":
            folder.touch()
        else:
            folder.mkdir(mode=0o755 if what == "open" else 0o700)
        if what == "somebody's":
            os.chown(folder, 12345, 12345)
        elif what == "folder in its place":
            (folder / "start-command").mkdir()
        elif what == "link to a folder":
            (folder / "start-command").symlink_to(elsewhere)
        before = sorted(tmp_path.rglob("*"))
        done = self.start(shell, opt, folder / "bridge.sock")
        assert (done.returncode, done.stdout.strip().isdecimal()) == (0, True)
        record = json.loads(done.stderr)
        assert record["level"] == "warning"
        assert record["message"].startswith(f"{folder}")
        with_signals = self.start(shell, opt, folder / "bridge.sock", SNAPEXT_SIGNALS="1")
        assert (with_signals.returncode, with_signals.stdout) == (126, "")
        assert record["message"].startswith(json.loads(with_signals.stderr)["message"])
        assert sorted(tmp_path.rglob("*")) == before

    @pytest.mark.parametrize("socket", ["bridge.sock", "/bridge.sock"])
    def test_a_socket_without_a_folder_of_its_own_is_refused(
        self, shell: str, socket: str, opt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is made under that name, and the app starts."""
        monkeypatch.chdir(tmp_path)
        done = self.start(shell, opt, Path(socket))
        assert done.returncode == 0
        assert f"SNAPEXT_SOCKET={socket} is not the whole path" in json.loads(done.stderr)["message"]
        assert not (tmp_path / "bridge.sock").exists()

    def test_it_starts_two_programs_at_most(self, shell: str, opt: Path, tmp_path: Path) -> None:
        """Each costs a start 1 to 3 ms. Outside of SnapStart it starts none."""
        shims, log = tmp_path / "shims", tmp_path / "log"
        shims.mkdir()
        for name in ("mkdir", "ls", "mv", "id", "stat", "rm", "cat", "dirname", "basename", "readlink", "chmod", "tr"):
            program = shutil.which(name)
            (shims / name).write_text(f'#!/bin/sh\necho {name} >>{log}\nexec {program} "$@"\n')
            (shims / name).chmod(0o755)
        socket, path = tmp_path / "bridge" / "bridge.sock", f"{shims}:{os.environ['PATH']}"
        assert self.start(shell, opt, socket, PATH=path, AWS_LAMBDA_INITIALIZATION_TYPE="on-demand").returncode == 0
        assert not log.exists()
        for expected in (["mkdir", "mv"], ["mkdir", "mv", "ls", "mv"]):
            assert self.start(shell, opt, socket, PATH=path).returncode == 0
            assert log.read_text().split() == expected


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

    def test_it_says_the_version_of_the_layer(self, opt: Path, folder: Path) -> None:
        """A function has no metadata of a distribution that anybody could ask."""
        done = self.start(opt, folder, "--version")
        assert (done.returncode, done.stdout, done.stderr) == (0, f"snapext, version {VERSION}\n", "")

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
        [(["done"], "no extension reads"), (["status"], "no extension listens"), (["checkpoint"], "no extension")],
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
            assert ask(Result(True, status=status), "status").stdout.startswith("state        init (mode gate)\n")
            failed = ask(Result(False, "hook app.open failed", 65), "checkpoint")
            assert (failed.returncode, failed.stdout) == (65, "")
            assert failed.stderr == "snapext: hook app.open failed\n"

    def test_signal_is_refused_with_a_reason(self, opt: Path, folder: Path) -> None:
        """It is a simulation, and this is the platform."""
        done = self.start(opt, folder, "signal", "after-restore", "--all")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "only the platform starts hooks" in done.stderr

    @pytest.mark.parametrize("words", [["simulate", "--", "true"], ["layer"], ["doctor"], ["done", "now"], [], ["-h"]])
    def test_anything_else_is_the_usage(self, opt: Path, folder: Path, words: list[str]) -> None:
        """And where the rest is to be had."""
        done = self.start(opt, folder, *words)
        assert (done.returncode, done.stdout) == (2, "")
        usage = "usage: snapext checkpoint | done [--failed MESSAGE] | status [--json] [--watch]\n"
        assert done.stderr.startswith(usage)
        assert "\n  layer build|install: pip install lambda-snapext\n" in done.stderr
        assert "attach, signal, layer publish: pip install 'lambda-snapext[tools]'" in done.stderr

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
