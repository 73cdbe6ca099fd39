"""The distribution as pip installs it: its wheel without the extra `tools`, in a virtual environment of its own."""

from __future__ import annotations

import concurrent.futures
import email
import email.message
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from helpers import Listener, clean_environ
from snapext.__main__ import NEED_TOOLS, TOOLS
from snapext.wire import VERSION
from snapext.wire.messages import Result
from snapext_tools.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "pip install 'lambda-snapext[tools]'"
MODULES = {"pyyaml": "yaml", "ruamel-yaml": "ruamel"}
"""Where a package on PyPI has another name than the module that it installs."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (found,) = folder.glob("lambda_snapext-*.whl")
    return found


@pytest.fixture(scope="module")
def slim(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it and nothing else; returns its bin."""
    folder = tmp_path_factory.mktemp("slim")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", str(wheel)], check=True, timeout=60)
    return folder / "bin"


@pytest.fixture(scope="module")
def pytest_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which pytest and its plugins are imported, and snapext is not: links to what we have."""
    folder = tmp_path_factory.mktemp("pytest")
    for found in Path(pytest.__file__).parents[1].iterdir():
        if "snapext" not in found.name and found.suffix != ".pth":
            (folder / found.name).symlink_to(found)
    return folder


@pytest.fixture(params=["snapext", "python -m snapext"])
def command(request: pytest.FixtureRequest, slim: Path) -> list[str]:
    program, *words = request.param.split()
    return [str(slim / program), *words]


def run(command: list[str], *words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *map(str, words)],
        env=clean_environ(**env),
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def check_one_line(done: subprocess.CompletedProcess[str], *said: str, status: int) -> None:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done.stderr
    for part in ("snapext: ", *said):
        assert part in done.stderr


def modules(requirements: list[str]) -> set[str]:
    names = [re.split(r"[^a-z0-9-]", requirement, maxsplit=1)[0] for requirement in requirements]
    return {MODULES.get(name, name) for name in names}


def metadata_of(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_links_of_its_page_on_pypi_lead_to_the_project(wheel: Path) -> None:
    """All are absolute: to a page of the docs site or a file of the repository. pyproject.toml has both addresses."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        urls = tomllib.load(file)["project"]["urls"]
    page = metadata_of(wheel).get_payload()
    assert isinstance(page, str)
    links = re.findall(r"\]\(([^)\s]+)\)", page)
    assert len(links) > 20
    assert [link for link in links if not link.startswith((urls["Documentation"], urls["Repository"] + "/"))] == []
    assert f"[docs/guarantees.md]({urls['Documentation']}guarantees/)" in page
    assert f"({urls['Repository']}/tree/HEAD/examples/infra)" in page
    assert f"({urls['Documentation']}changelog/)" in page


def test_the_wheel_requires_nothing_without_the_extra(wheel: Path) -> None:
    """pip installs snapext alone, and with `[tools]` what the tools import."""
    metadata = metadata_of(wheel)
    required = metadata.get_all("Requires-Dist") or []
    assert [line for line in required if not line.endswith("extra == 'tools'")] == []
    assert modules(required) | {"snapext_tools"} == set(TOOLS)


def test_the_source_distribution_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """It has all that the build needs, and nothing that the build changes."""
    hatch = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path), "-t"]
    subprocess.run([*hatch, "sdist"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    (archive,) = tmp_path.glob("*.tar.gz")
    shutil.unpack_archive(archive, tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    subprocess.run([*hatch, "wheel"], cwd=unpacked, check=True, capture_output=True, timeout=60)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_command_knows_what_the_extra_is_for() -> None:
    """Its own list of packages is pyproject.toml's, and its commands are those of the tools."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    assert project["dependencies"] == []
    tools = project["optional-dependencies"]["tools"]
    assert modules(tools) == set(TOOLS) - {"snapext_tools"}
    assert "urllib3>=2.2" in tools  # the first with read1(); what pip finds there already may be older
    assert {"checkpoint", "done", "status", "layer", *NEED_TOOLS} == set(COMMANDS)


def test_help_lists_what_there_is_and_names_the_extra(command: list[str]) -> None:
    """On standard output, with status 0; asked for nothing, it is on standard error, and status 2."""
    for words in (["--help"], ["-h"], ["status", "--help"], ["done", "-h"]):
        done = run(command, *words)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.findall(r"^  ([a-z]+) {2,}|^  ([a-z]+) [\[a-z]", done.stdout, re.MULTILINE)
        for name in COMMANDS:
            assert name in done.stdout
        assert INSTALL in done.stdout
    nothing = run(command)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert nothing.stderr == done.stdout


def test_the_version_is_said_as_with_the_tools(command: list[str], wheel: Path) -> None:
    """Word for word, and the wheel has it."""
    done = run(command, "--version")
    with_tools = run([sys.executable, "-m", "snapext"], "--version")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", with_tools.stdout)
    assert done.stdout == f"snapext, version {VERSION}\n"
    assert wheel.name.startswith(f"lambda_snapext-{VERSION}-")


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("simulate", ["--", "true"]),
        ("simulate", ["--help"]),
        ("doctor", []),
        ("signal", ["--all"]),
        ("layer publish", ["--region", "eu-west-1"]),
    ],
)
def test_a_tool_is_one_line_that_names_the_extra(command: list[str], tool: str, words: list[str]) -> None:
    """And the status of wrong usage."""
    check_one_line(
        run(command, *tool.split(), *words),
        f"{tool} needs packages",
        "(click, psutil, requests, ruamel, urllib3, yaml)",
        INSTALL,
        status=2,
    )


@pytest.mark.parametrize(
    "words", [["done", "--failed"], ["done", "now"], ["status", "--yaml"], ["checkpoint", "now"], ["chekpoint"]]
)
def test_wrong_usage_is_one_line(command: list[str], words: list[str]) -> None:
    """It says where to read what is right."""
    check_one_line(run(command, *words), " ".join(words), "snapext --help", status=2)


def test_completion_is_one_line_that_names_the_extra(slim: Path) -> None:
    """On standard error, so that the shell which evaluates the output evaluates nothing."""
    done = run([str(slim / "snapext")], _SNAPEXT_COMPLETE="bash_source")
    check_one_line(done, "shell completion needs packages", INSTALL, status=2)


def test_one_tool_that_an_app_has_anyway_is_not_enough(slim: Path, tmp_path: Path) -> None:
    """Flask installs click: the others are still missing, and are named."""
    (tmp_path / "click").mkdir()
    (tmp_path / "click" / "__init__.py").touch()
    done = run([str(slim / "snapext")], "doctor", PYTHONPATH=str(tmp_path))
    check_one_line(
        done, "doctor needs packages that are not installed (psutil, requests, ruamel, urllib3, yaml)", status=2
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["checkpoint"], "no extension listens"),
        (["done"], "no extension reads"),
        (["status"], "no extension listens"),
        (["status", "--watch"], "no extension listens"),
        (["status", "--json", "--watch"], "no extension listens"),
    ],
)
def test_the_commands_of_a_function_run(command: list[str], words: list[str], said: str, tmp_path: Path) -> None:
    """Without an extension each is one line, and status 1."""
    env = {"SNAPEXT_SOCKET": str(tmp_path / "bridge.sock"), "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    check_one_line(run(command, *words, **env), said, status=1)


def test_status_prints_what_the_extension_answers(command: list[str], tmp_path: Path) -> None:
    """The connection is the standard library's."""
    status = {"mode": "gate", "phase": "init", "generation": 0, "environment_id": None, "processes": [], "boundary": {}}
    tmp_path.chmod(0o700)
    with Listener(tmp_path / "bridge.sock") as listener, concurrent.futures.ThreadPoolExecutor() as pool:
        future = pool.submit(run, command, "status", SNAPEXT_SOCKET=str(tmp_path / "bridge.sock"))
        peer = listener.accept()
        peer.greet()
        peer.send(Result(True, status=status))
        done = future.result()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("state        init (mode gate)\n")


def test_the_layer_is_the_one_that_the_tools_build(command: list[str], tmp_path: Path) -> None:
    """The same bytes, and the same words."""
    said = []
    for name, program in (("tools.zip", [sys.executable, "-m", "snapext"]), ("slim.zip", command)):
        done = run(program, "layer", "build", "-o", tmp_path / name, "--precompile", sys.executable)
        assert (done.returncode, done.stderr) == (0, "")
        said.append(done.stdout.replace(name, "zip"))
    assert (tmp_path / "slim.zip").read_bytes() == (tmp_path / "tools.zip").read_bytes()
    assert said[0] == said[1]


def test_the_layer_is_installed_into_an_image_without_the_tools(command: list[str], tmp_path: Path) -> None:
    """With the link of a virtual environment, and the files compiled."""
    venv.create(tmp_path / "app" / ".venv", with_pip=False)
    words = ("layer", "install", tmp_path, "--venv", "/app/.venv", "--precompile", sys.executable)
    done = run(command, *words)
    assert (done.returncode, done.stderr) == (0, "")
    (pth,) = (tmp_path / "app" / ".venv").glob("lib/python3*/site-packages/snapext.pth")
    assert re.fullmatch(rf"{tmp_path}/opt: \d+ files\n{pth}: links the processes of this Python\n", done.stdout)
    assert os.access(tmp_path / "opt" / "extensions" / "snapext", os.X_OK)
    assert list(tmp_path.glob("opt/snapext/python/snapext/command/__pycache__/main.*.pyc"))


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["install", "/no/such/root"], "/no/such/root is not a folder", 1),
        (["install", "/proc"], "/proc/opt cannot be written", 1),
        (["install", ".", "--venv", "/no/venv"], "is not a virtual environment", 1),
        (["build", "-o", "/no/such/layer.zip"], "/no/such/layer.zip cannot be written", 1),
        (["build", "-o", "layer.zip", "--precompile", "/no/python"], "/no/python cannot be started", 1),
    ],
)
def test_a_layer_that_cannot_be_made_is_one_line(
    slim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str, status: int
) -> None:
    """As with the tools."""
    monkeypatch.chdir(tmp_path)
    check_one_line(run([str(slim / "snapext")], "layer", *words), said, status=status)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [[], ["instal"], ["install"], ["build"], ["install", ".", "--ven", "x"]])
def test_wrong_usage_of_the_layer_shows_the_usage(slim: Path, words: list[str]) -> None:
    """Status 2, and no traceback."""
    done = run([str(slim / "snapext")], "layer", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: snapext layer")
    assert "error: " in done.stderr


@pytest.mark.parametrize("words", [["build"], ["install"]])
def test_the_layers_help_has_the_options_of_the_tools(slim: Path, words: list[str]) -> None:
    """Both parsers take the same words."""
    shown = [
        run(program, "layer", *words, "--help")
        for program in ([str(slim / "snapext")], [sys.executable, "-m", "snapext"])
    ]
    assert [done.returncode for done in shown] == [0, 0]
    ours, tools = (set(re.findall(r"(?<!\S)--?[a-z]+\b", done.stdout)) for done in shown)
    assert ours == tools


APP = """
import asyncio
import snapext

class Pool:
    is_closed = False
    is_open = True

pool = Pool()
loops = []

@snapext.register_before_snapshot
def close_pool(): pool.is_closed = True

@snapext.register_after_restore
async def open_pool():
    global pool
    pool = Pool()
    loops.append(asyncio.get_running_loop())
"""
TESTS = """
import asyncio, unittest
import pytest
import app
from snapext.testing import SnapStart, run_boundary

@pytest.mark.asyncio
async def test_with_pytest_asyncio(snapstart):
    assert (await snapstart.arun()).after_restore == ("app.open_pool",)
    assert app.loops.pop() is asyncio.get_running_loop()

class TestWithUnittest(unittest.IsolatedAsyncioTestCase):
    async def test_it(self):
        await self.enterContext(SnapStart()).arun()
        self.assertIs(app.loops.pop(), asyncio.get_running_loop())

def test_a_failure_is_readable(snapstart):
    snapstart.run()
    app.snapext.register_after_restore(lambda: 1 / 0)
    snapstart.run()

def test_the_hook_of_the_failed_test_is_gone():
    assert run_boundary().after_restore == ("app.open_pool",)
"""


def test_pytest_has_the_fixture(slim: Path, pytest_alone: Path, tmp_path: Path) -> None:
    """From the installed wheel, in sync and async tests; the document's example is 15 lines and works as it stands."""
    (example,) = re.findall(r"```python\n(import snapext\n.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
    assert sum(bool(line) for line in example.splitlines()) <= 15
    for name, text in (("app.py", APP), ("test_document.py", example), ("test_all.py", TESTS)):
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    )
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", tmp_path)
    done = run([str(slim / "python")], *words, PYTHONPATH=str(pytest_alone))
    failed, _, summary = done.stdout.partition("short test summary")
    assert "1 failed, 5 passed" in summary, done.stdout + done.stderr
    assert "test_a_failure_is_readable" in summary
    assert "HookFailedError: the after_restore hook test_all.test_a_failure_is_readable.<locals>.<lambda>" in failed
    assert "ZeroDivisionError: division by zero" in failed
    assert "snapext/hooks" not in failed
    assert "snapext/testing" not in failed
