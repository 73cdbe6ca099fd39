"""What `channels` says of a process, with the files that there are given: nothing is looked at here."""

from __future__ import annotations

import pytest

from helpers import for_each
from snapext_extension.kernel.channels import (
    MAX_FILE_CHARS,
    MAX_SHOWN,
    Cause,
    why_not_to_us,
    why_unlinked,
)
from snapext_extension.kernel.interpreter import is_python_name

AUTOSTART = "/opt/snapext/python/snapext/autostart"
USER_BASE = f"{AUTOSTART}/user-base"
LAYER = {
    f"{AUTOSTART}/_snapext_autostart.py": "",
    f"{AUTOSTART}/sitecustomize.py": "",
    f"{USER_BASE}/lib/python3.12/site-packages/snapext.pth": "",
}
WRAPPED = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap"}
PYTHON = "/var/lang/bin/python3.12"
FUNCTION = {**WRAPPED, "PATH": "/var/lang/bin", "PYTHONPATH": AUTOSTART, "PYTHONUSERBASE": USER_BASE}
LOST = {**FUNCTION, "PYTHONPATH": "/opt/python"}
VENV = {"/app/.venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\n"}
IN_VENV = ["/app/.venv/bin/python", "app.py"]


def judge(argv, environ, executable=PYTHON, **files):
    there = {**LAYER, PYTHON: "", **files.get("files", {})}
    return why_unlinked(argv, environ, executable, there.__contains__, there.get)


def said(*args, **files):
    cause = judge(*args, **files)
    assert cause is not None
    assert "\n" not in cause.cause + cause.remedy
    return cause


@for_each(
    "executable, expected",
    [
        ("/var/lang/bin/python3.12", True),
        ("/usr/bin/python3", True),
        ("python", True),
        ("/opt/pypy/bin/pypy3.11", True),
        ("/usr/bin/python3.13t", True),
        ("/usr/bin/python3.11-dbg (deleted)", True),
        ("/usr/bin/python2.7", True),
        ("/usr/sbin/uwsgi", False),
        ("/usr/bin/python3-config", False),
        ("/usr/bin/pythonw.sh", False),
        ("/usr/bin/node", False),
        ("", False),
    ],
)
def test_an_interpreter_is_known_by_its_name(executable, expected):
    """Whatever its version; a program that embeds Python is none."""
    assert is_python_name(executable) is expected


@for_each(
    "argv, environ",
    [
        ([], LOST),  # ended
        (IN_VENV, None),  # not readable
        (["gunicorn: master [app:app]", "", ""], {}),  # titles
        (["gunicorn: worker [app:app]"], {"": ""}),
        (["./python", "app.py"], LOST),  # from a folder that is not known
        ([PYTHON, "-I", "-S", "-c", "import os, sys; sys._snapext_own = True; from x import main"], {}),
    ],
)
def test_where_nothing_is_certain_nothing_is_said(argv, environ):
    """What is said here may end an initialisation."""
    assert judge(argv, environ) is None


def test_an_empty_environment_is_not_one_that_cannot_be_read():
    """`env -i python app.py` has lost every channel."""
    cause = said([PYTHON, "app.py"], {})
    assert cause.cause == "it was started with an environment of its own (env -i, or a supervisor that clears it)"
    assert cause.remedy == "pass PYTHONPATH, PYTHONUSERBASE and SNAPEXT_SOCKET on to it, or `import snapext` in the app"


def test_a_replaced_path_says_which_line_to_change():
    """And names what was set, the virtual environment, and what helps in an image."""
    cause = said(IN_VENV, LOST, files=VENV)
    assert cause == Cause(
        "its PYTHONPATH was replaced: /opt/python has no folder of snapext's; "
        "the virtual environment /app/.venv has no user site",
        "where it is started (run.sh), write PYTHONPATH=...:$PYTHONPATH instead of PYTHONPATH=..., or `import snapext` "
        "in the app, or `snapext layer install / --venv /app/.venv` in the image's build",
    )


def test_a_switch_says_to_leave_it_out():
    """Each in its own words."""
    assert said([PYTHON, "-IS", "app.py"], FUNCTION).remedy == "start it without -S, or `import snapext` in the app"
    assert said([PYTHON, "-I", "app.py"], FUNCTION).remedy == "start it without -I, or `import snapext` in the app"
    assert said([PYTHON, "-Es", "app.py"], FUNCTION).cause == ("-E ignores PYTHONPATH; -s turns the user site off")


def test_a_pex_starts_python_anew_with_a_switch_that_nobody_wrote():
    """So the line to change is another one."""
    cause = said([PYTHON, "-I", "/tmp/.pex/unzipped_pexes/4/1a72"], FUNCTION)
    assert cause.remedy == "set PEX_INHERIT_PATH=fallback, or `import snapext` in the app"
    cause = said([PYTHON, "-I", "/tmp/.pex/venvs/4/73f0/1860/pex"], FUNCTION)
    assert (
        cause.remedy == "build the PEX without --venv and set PEX_INHERIT_PATH=fallback, or `import snapext` in the app"
    )


def test_an_image_without_a_channel_is_told_of_all():
    """Nobody has replaced anything there: nothing was set."""
    image = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}
    cause = said([PYTHON, "app.py"], image)
    assert cause.cause == "it has no PYTHONPATH"
    assert f"(in an image ENV PYTHONPATH={AUTOSTART})" in cause.remedy
    cause = said([PYTHON, "app.py"], {**image, "PYTHONPATH": "/app/lib"})
    assert cause.cause == "its PYTHONPATH, /app/lib, has no folder of snapext's"
    assert f"ENV PYTHONPATH={AUTOSTART}:$PYTHONPATH" in cause.remedy


def test_a_folder_of_that_name_that_is_not_there_is_no_channel():
    """Say the line of an image that was built for an older snapext."""
    old = {**FUNCTION, "PYTHONPATH": "/opt/python/snapext/autostart", "PYTHONUSERBASE": "/x"}
    assert "/opt/python/snapext/autostart has no folder of snapext's" in said([PYTHON], old).cause


@pytest.mark.parametrize(
    "entry", [AUTOSTART, f"{AUTOSTART}/", f"/a:{AUTOSTART}", f":{AUTOSTART}", "src/snapext/autostart"]
)
def test_our_folder_is_known_in_every_spelling(entry):
    """A relative one is believed: from where it counts is not known."""
    assert judge(IN_VENV, {**FUNCTION, "PYTHONPATH": entry}, files=VENV) is None


@for_each(
    "source, reached",
    [
        ("'''The sitecustomize of us.'''  # a sitecustomize\nimport agent\nagent.start()", False),
        ("this is not Python", False),
        ("import sys\ndel sys.modules['sitecustomize']\nimport sitecustomize", True),
        ("import importlib.util\nimportlib.util.find_spec(__name__)", True),
        ("import agent\nagent.run_hidden_sitecustomize()", True),
        ("-" * 100_000 + "1", True),
        ("a" + ".b" * 50_000, True),
    ],
)
def test_another_sitecustomize_is_read(source, reached):
    """One that does not name another one cannot run it; of one that does, nothing is said."""
    path = "/app/agent/sitecustomize.py"
    environ = {**FUNCTION, "PYTHONPATH": f"/app/agent:{AUTOSTART}"}
    cause = judge(IN_VENV, environ, files={**VENV, path: source})
    assert (cause is None) is reached
    assert reached or cause.cause.startswith(f"{path} comes before snapext's on its PYTHONPATH, and does not run it; ")


def test_of_half_a_sitecustomize_nothing_is_said(tmp_path):
    """The line that runs the next one may be in the other half."""
    other = tmp_path / "sitecustomize.py"
    other.write_text(f"data = '''{'x' * MAX_FILE_CHARS}'''\nimport sitecustomize\n")
    environ = {**FUNCTION, "PYTHONPATH": f"{tmp_path}:{AUTOSTART}"}
    there = {**LAYER, PYTHON: "", **VENV, str(other): ""}
    assert why_unlinked(IN_VENV, environ, PYTHON, there.__contains__) is None


@pytest.mark.parametrize("name", ["sitecustomize/__init__.py", "sitecustomize.pyc"])
def test_a_sitecustomize_may_be_a_package_or_compiled(name):
    """A compiled one is not read: it may run ours."""
    environ = {**FUNCTION, "PYTHONPATH": f"/app/agent:{AUTOSTART}"}
    cause = judge(IN_VENV, environ, files={**VENV, f"/app/agent/{name}": "import agent"})
    assert (cause is None) is name.endswith(".pyc")


@pytest.mark.parametrize("executable", ["/var/lang/bin/python3.12 (deleted)", "/usr/bin/python3", "/usr/bin/python"])
def test_an_interpreter_without_a_version_may_be_any(executable):
    """Its user site may be ours."""
    assert judge(["python", "app.py"], LOST, executable) is None


def test_a_version_without_a_user_site_of_ours_is_named():
    """An older Python, or PyPy."""
    cause = said(["pypy3.11", "app.py"], LOST, "/opt/pypy/bin/pypy3.11")
    assert cause.cause.endswith("; snapext has no user site for pypy3.11")


@pytest.mark.parametrize("cfg", ["include-system-site-packages = true", "home=/x\nInclude-System-Site-Packages=TRUE\n"])
def test_an_open_virtual_environment_has_the_user_site(cfg):
    """As Python reads its pyvenv.cfg."""
    assert judge(IN_VENV, LOST, files={"/app/.venv/pyvenv.cfg": cfg}) is None


def test_debians_folder_counts_for_debians_interpreter_alone():
    """Another one below /usr/local does not look there."""
    files = {"/usr/lib/python3/dist-packages/snapext.pth": ""}
    assert judge(["/usr/bin/python3.12", "-I"], FUNCTION, "/usr/bin/python3.12", files=files) is None
    assert judge(["/usr/local/bin/python3.12", "-I"], FUNCTION, "/usr/local/bin/python3.12", files=files) is not None


def test_a_long_path_is_cut():
    """A log line is bounded."""
    cause = said(IN_VENV, {**FUNCTION, "PYTHONPATH": "/x" * 10_000}, files=VENV)
    assert len(cause.cause) < MAX_SHOWN + 200


@for_each("word", ["-W", "-X", "-c", "-m", "--check-hash-based-pycs", "-", "--", "-Wx", "--help"])
def test_an_option_at_the_end_of_the_line_is_no_matter(word):
    """Nothing behind it is missed, and nothing raises."""
    assert judge([PYTHON, word], FUNCTION) is None


SOCKET = {"SNAPEXT_SOCKET": "/tmp/own/bridge.sock"}


@pytest.mark.parametrize(
    ("argv", "environ", "folder"),
    [
        (["python3", "app.py"], {"PATH": "/bin"}, "/tmp/snapext-7"),
        (["python3", "app.py"], SOCKET, "/tmp/own"),
        (["gunicorn: worker"], {}, "/tmp/own"),
        (["python3", "-c", "import sys; sys._snapext_own = True"], {"PATH": "/bin"}, "/tmp/own"),
    ],
    ids=["the default", "given", "a title in place of both", "our own"],
)
def test_one_that_looks_for_the_extension_where_it_is_or_may_is_not_named(argv, environ, folder):
    """The default is the user's own folder below /tmp."""
    assert why_not_to_us(argv, environ, folder, 7) is None


@pytest.mark.parametrize("environ", [{"PATH": "/bin"}, {"SNAPEXT_SOCKET": "/tmp/x/bridge.sock"}])
def test_one_that_looks_for_the_extension_elsewhere_is_named(environ):
    """It was started with an environment of its own, which kept PYTHONPATH and lost SNAPEXT_SOCKET."""
    cause = why_not_to_us(["python3", "app.py"], environ, "/tmp/own", 7)
    assert cause is not None
    path = environ.get("SNAPEXT_SOCKET", "/tmp/snapext-7/bridge.sock")
    assert cause.cause == f"it looks for snapext at {path}, and the extension is in /tmp/own"
    assert "SNAPEXT_SOCKET" in cause.remedy
