"""Every way to start a Python process: whether a channel of ours reaches it, and what `channels` says if none does.

Real interpreters, started by the layer's own wrapper with the layer at /opt (in a mount namespace).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from snapext_extension.kernel.channels import Cause, why_unlinked
from snapext_extension.kernel.interpreter import is_python_name
from snapext_layer.interpreters import PTH_LINE
from snapext_layer.tree import layer_tree
from snapext_layer.write import install

VERSIONS = ("3.11", "3.12", "3.13")
APP = """
import os, sys
print(os.getpid(), hasattr(sys, "_snapext_autostart"), flush=True)
sys.stdin.readline()
"""
SPAWNING = """
import multiprocessing, os, sys
sys.path.insert(0, os.getcwd())  # -I leaves the script's own folder out
import app_of_child
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=app_of_child.main)
    child.start()
    sys.stdin.readline()
    child.kill()
"""
OF_CHILD = """
import os, sys, time
def main():
    print(os.getpid(), hasattr(sys, "_snapext_autostart"), flush=True)
    time.sleep(60)
"""
CHAINING = """
import importlib.machinery, importlib.util, os, sys
here = os.path.dirname(os.path.abspath(__file__))
spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [p for p in sys.path if p != here])
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


def installed() -> dict[str, str]:
    """The interpreters of this machine by their versions: this one, and what else is found."""
    ask = ["-I", "-S", "-c", "import sys; print(sys.executable)"]
    found = {f"3.{sys.version_info.minor}": str(Path(sys.executable).resolve())}
    debians = Path("/usr/bin/python3").resolve()
    if debians.name in {f"python{version}" for version in VERSIONS} and Path("/usr/lib/python3/dist-packages").is_dir():
        found["Debian's"] = str(debians)  # its packages are elsewhere
    for version in VERSIONS:
        candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python3.*")]
        for candidate in (str(path) for path in candidates if path is not None and str(path).endswith(version)):
            done = subprocess.run([candidate, *ask], capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                found.setdefault(version, done.stdout.strip())
    return found


PYTHONS = installed()


@dataclass
class Scene:
    """A function's folder with an interpreter, virtual environments of it, and the layer."""

    root: Path
    python: str

    @property
    def task(self) -> Path:
        return self.root / "task"

    @property
    def site_packages(self) -> str:
        real = Path(self.python).resolve()
        if real.parent == Path("/usr/bin"):
            return "/usr/lib/python3/dist-packages"
        return str(real.parent.parent / "lib" / real.name / "site-packages")

    @contextmanager
    def started(self, line: str, *, pth: bool = False) -> Iterator[tuple[int, bool]]:
        """Start a run.sh of that line; yields the pid of the process that has spoken, and whether we are in it.

        pth: the interpreter's own packages are a folder that holds our .pth file.
        """
        script = self.task / "run.sh"
        script.write_text(f"#!/bin/sh\ncd {self.task}\n{line}\n")
        script.chmod(0o755)
        mounts = f"mount --bind {self.root / 'opt'} /opt"
        if pth:
            mounts += f" && mount --bind {self.root / 'pth'} {self.site_packages}"
        env = {
            "PATH": f"{self.root / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.root),
            "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap",
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:1",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "SNAPEXT_SOCKET": str(self.root / "bridge" / "bridge.sock"),
            "LAMBDA_TASK_ROOT": str(self.task),
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PYTHONPATH": "/var/runtime",
            "PYTHONDONTWRITEBYTECODE": "1",
            "_HANDLER": "run.sh",
        }
        prepare = f"mount --make-rprivate / && mkdir -p /opt && {mounts} && exec /opt/snapext/bootstrap"
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", prepare],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdout is not None
                pid, linked = process.stdout.readline().split()
                yield int(pid), linked == "True"
            finally:
                process.kill()

    def verdict(self, pid: int) -> Cause | None:
        """What `channels` says of a process. In its namespace, which is the extension's on Lambda."""
        root, proc = Path(f"/proc/{pid}/root"), Path(f"/proc/{pid}")
        executable = os.readlink(proc / "exe")
        assert is_python_name(executable)
        argv = [os.fsdecode(word) for word in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
        pairs = (item.partition(b"=") for item in (proc / "environ").read_bytes().split(b"\0"))
        environ = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}

        def read(path: str) -> str | None:
            return (root / path.lstrip("/")).read_text()

        return why_unlinked(argv, environ, executable, lambda path: os.path.exists(f"{root}{path}"), read)


@pytest.fixture(scope="module", params=PYTHONS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    root, python = tmp_path_factory.mktemp("scene"), PYTHONS[request.param]
    scene = Scene(root, python)
    install(layer_tree(), root)
    for name in ("task", "bin", "pth", "theirs", "chaining", "linked"):
        (root / name).mkdir()
    (root / "bin" / "python3").symlink_to(python)
    (root / "pth" / "snapext.pth").write_text(PTH_LINE)
    (root / "theirs" / "sitecustomize.py").write_text('"""The sitecustomize of somebody else."""\nmark = 1\n')
    (root / "chaining" / "sitecustomize.py").write_text(CHAINING)
    for name, source in (("app.py", APP), ("spawning.py", SPAWNING), ("app_of_child.py", OF_CHILD)):
        (scene.task / name).write_text(textwrap.dedent(source))
    shebang = scene.task / "shebang"
    shebang.write_text(f"#!{python} -Es\n{APP}")
    shebang.chmod(0o755)
    for name, options in (("venv", ""), ("open-venv", "--system-site-packages"), ("named-venv", "")):
        subprocess.run([python, "-m", "venv", "--without-pip", *options.split(), root / name], check=True, timeout=60)
    (packages,) = (root / "named-venv" / "lib").glob("*/site-packages")
    (packages / "snapext.pth").write_text(PTH_LINE)
    (root / "linked" / "python").symlink_to(root / "venv" / "bin" / "python")
    return scene


LOST = "PYTHONPATH=/opt/python:$LAMBDA_RUNTIME_DIR"
REPLACED = "its PYTHONPATH was replaced: /opt/python:/var/runtime has no folder of snapext's"
ISOLATED = "-I ignores PYTHONPATH and the user site"
HIDDEN = "{root}/theirs/sitecustomize.py comes before snapext's on its PYTHONPATH, and does not run it; "
NO_SITE = "-S: Python reads neither sitecustomize nor .pth files"

# A line of run.sh, and the beginning of the cause if no channel reaches the process that it starts.
WAYS: dict[str, str | None] = {
    # PYTHONPATH as the wrapper has set it
    "exec python3 app.py": None,
    "exec python3 -m app": None,
    "exec python3 -c 'import app'": None,
    "exec python3 -X utf8 -- app.py": None,
    "exec python3 -u -X dev -W error -O app.py": None,
    "exec python3 -W error::UserWarning -Ximporttime -P app.py 2>/dev/null": None,
    "exec python3 app.py -I -S -E": None,
    "exec python3 -c 'import app' -S": None,
    "exec python3 -c'import app' -S": None,
    "exec python3 -mapp -I": None,
    "PYTHONPATH=/opt/python:$PYTHONPATH exec python3 app.py": None,
    "PYTHONPATH=$PYTHONPATH:/opt/python exec python3 -s app.py": None,
    "PYTHONNOUSERSITE=1 exec python3 app.py": None,
    "PYTHONUSERBASE=/nowhere exec python3 app.py": None,
    "exec {root}/venv/bin/python app.py": None,
    "exec ../venv/bin/python app.py": None,
    "PATH={root}/venv/bin:$PATH exec python app.py": None,
    "exec python3 spawning.py": None,
    "PYTHONHOME={prefix} exec python3 app.py": None,
    "exec -a server python3 app.py": None,
    # PYTHONPATH is lost: the user site
    f"{LOST} exec python3 app.py": None,
    f"{LOST} exec python3 -m app": None,
    f"{LOST} exec python3 spawning.py": None,
    "exec env -u PYTHONPATH python3 app.py": None,
    f"{LOST} exec {{root}}/open-venv/bin/python app.py": None,
    f"{LOST} PYTHONPLATLIBDIR=lib exec python3 -uB app.py": None,
    # and that is not there
    f"{LOST} exec python3 -s app.py": f"{REPLACED}; -s turns the user site off",
    f"{LOST} PYTHONNOUSERSITE=1 exec python3 app.py": f"{REPLACED}; PYTHONNOUSERSITE turns the user site off",
    f"{LOST} PYTHONUSERBASE=/x exec python3 app.py": f"{REPLACED}; PYTHONUSERBASE=/x is not snapext's",
    f"{LOST} exec {{root}}/venv/bin/python app.py": f"{REPLACED}; the virtual environment {{root}}/venv has no user",
    f"{LOST} exec ../venv/bin/python app.py": f"{REPLACED}; the virtual environment {{task}}/../venv has no user site",
    f"{LOST} PATH={{root}}/venv/bin:$PATH exec python app.py": f"{REPLACED}; the virtual environment {{root}}/venv has",
    f"{LOST} exec {{root}}/venv/bin/python spawning.py": f"{REPLACED}; the virtual environment {{root}}/venv has no",
    "exec env -u PYTHONPATH {root}/venv/bin/python app.py": "its PYTHONPATH was removed; the virtual environment",
    "exec env -u PYTHONPATH -u PYTHONUSERBASE python3 app.py": "its PYTHONPATH was removed",
    # switches
    "exec python3 -E app.py": None,  # the user site is there under -E
    "PYTHONNOUSERSITE=1 exec python3 -E app.py": None,
    "PYTHONUSERBASE=/x exec python3 -E app.py": "-E ignores PYTHONPATH; PYTHONUSERBASE=/x is not snapext's",
    "exec {root}/venv/bin/python -E app.py": "-E ignores PYTHONPATH; the virtual environment {root}/venv has no user",
    "exec python3 -I app.py": ISOLATED,
    "exec python3 -uI -c 'exec(open(\"app.py\").read())'": ISOLATED,
    "exec python3 -sE app.py": "-E ignores PYTHONPATH; -s turns the user site off",
    "exec python3 -X dev -W error -Es app.py": "-E ignores PYTHONPATH; -s turns the user site off",
    "exec python3 -I spawning.py": ISOLATED,
    "exec ./shebang": "-E ignores PYTHONPATH; -s turns the user site off",
    "exec {root}/venv/bin/python -I app.py": ISOLATED,
    "exec python3 -S app.py": NO_SITE,
    "exec python3 -IS app.py": NO_SITE,
    "exec {root}/named-venv/bin/python -S app.py": NO_SITE,
    # an environment of its own
    "exec env -i {python} app.py": "it was started with an environment of its own",
    "exec env -i PATH=$PATH python3 app.py": "it was started with an environment of its own",
    "exec env -i sh -c 'exec {python} app.py'": "it was started with an environment of its own",
    "exec env -i PATH=$PATH PYTHONPATH=$PYTHONPATH python3 app.py": None,
    # another sitecustomize before ours, and behind it
    "PYTHONPATH={root}/theirs:$PYTHONPATH exec python3 app.py": None,
    "PYTHONPATH={root}/theirs:$PYTHONPATH exec python3 -s app.py": HIDDEN,
    "PYTHONPATH={root}/theirs:$PYTHONPATH exec {root}/venv/bin/python app.py": HIDDEN,
    "PYTHONPATH={root}/chaining:$PYTHONPATH exec {root}/venv/bin/python app.py": None,
    "PYTHONPATH=$PYTHONPATH:{root}/theirs exec {root}/venv/bin/python app.py": None,
    # the .pth file in a virtual environment that was named
    f"{LOST} exec {{root}}/named-venv/bin/python app.py": None,
    "exec {root}/named-venv/bin/python -I app.py": None,
    "exec env -i {root}/named-venv/bin/python -E app.py": None,
    "PYTHONPATH={root}/theirs:$PYTHONPATH exec {root}/named-venv/bin/python app.py": None,
}

# The same where `snapext layer install` has found the interpreter.
WAYS_OF_AN_IMAGE: dict[str, str | None] = {
    "exec env -i {python} app.py": None,
    "exec python3 -I app.py": None,
    "exec python3 -Es app.py": None,
    "exec ./shebang": None,
    f"{LOST} PYTHONNOUSERSITE=1 exec python3 app.py": None,
    f"{LOST} exec {{root}}/open-venv/bin/python -s app.py": None,
    f"{LOST} exec {{root}}/venv/bin/python app.py": f"{REPLACED}; the virtual environment {{root}}/venv has no",
    "exec {root}/venv/bin/python -I app.py": ISOLATED,
    "exec python3 -S app.py": NO_SITE,
}


def check(scene: Scene, line: str, cause: str | None, *, pth: bool = False) -> None:
    names = {
        "root": scene.root,
        "task": scene.task,
        "python": scene.python,
        "prefix": Path(scene.python).resolve().parent.parent,
    }
    if line.startswith("exec -a"):  # dash has no such option
        line = f'exec bash -c "{line}"'
    with scene.started(line.format(**names), pth=pth) as (pid, linked):
        verdict = scene.verdict(pid)
    said = "" if verdict is None else verdict.cause
    assert linked is (cause is None)
    assert (verdict is None) is linked, said
    assert said.startswith((cause or "").format(**names))


@pytest.mark.parametrize("line", WAYS)
def test_a_process_is_reached_or_the_cause_is_named(scene: Scene, line: str) -> None:
    """The verdict of `channels` from outside agrees with the interpreter itself."""
    check(scene, line, WAYS[line])


@pytest.mark.parametrize("line", WAYS_OF_AN_IMAGE)
def test_a_process_of_an_image_is_reached_or_the_cause_is_named(scene: Scene, line: str) -> None:
    """The .pth file beside the interpreter's packages helps under -E, -I and without an environment; not under -S."""
    check(scene, line, WAYS_OF_AN_IMAGE[line], pth=True)
