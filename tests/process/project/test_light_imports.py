"""What Python loads, each time in a process of its own: a cold start pays for it, and so does a session of pytest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.architecture import ROOTS
from helpers import LIMIT_S, SRC, clean_environ


def loaded(modules):
    """What Python has loaded after these imports, and nothing else."""
    code = f"import sys; sys.path[:0] = {[str(root) for root in ROOTS]!r}; import {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


def test_a_command_inside_a_function_is_light():
    """`snapext checkpoint` and `snapext done` import neither the protocol's messages, nor click, nor sockets."""
    found = loaded("snapext.__main__, snapext.command.checkpoint")

    assert "snapext.command.main" in found
    heavy = {"click", "socket", "dataclasses", "typing", "snapext.wire.messages", "snapext.link.link", "snapext_tools"}
    assert not heavy & found


def test_the_protocol_is_light():
    """The first hook of a process waits for the messages to be imported: no dataclasses, whose import is most of it."""
    found = loaded("snapext.wire.connection, snapext.wire.place")

    assert "snapext.wire.messages" in found
    assert not {"dataclasses", "inspect", "typing", "socket"} & found


def test_the_extension_is_light():
    """What it imports once it has registered takes the processor from the runtime, and stays in memory."""
    found = loaded("snapext_extension.extension, snapext_extension.config, snapext_extension.kernel.look")

    assert "snapext_extension.boundary.lifecycle" in found
    heavy = {"dataclasses", "inspect", "json", "re", "typing", "shlex", "ast", "snapext_extension.peers.signals"}
    assert not heavy & found


def printed(code, *options, **variables):
    """What `code` prints in a new interpreter that finds our sources."""
    environ = clean_environ(PYTHONPATH=str(SRC), **variables)
    command = [sys.executable, *options, "-c", code]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_importing_the_package_is_light():
    """`import snapext` brings none of the modules that a cold start would notice."""
    heavy = ["socket", "threading", "json", "asyncio", "typing", "logging", "dataclasses", "select", "random"]
    code = (
        f"import sys; assert 'site' not in sys.modules; import snapext; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )

    assert printed(code, "-S") == "[]\n"


def test_importing_starts_nothing():
    """Importing alone makes no thread and no connection where no extension is to be expected."""
    code = "import snapext, os; snapext.status(); print(len(os.listdir('/proc/self/task')))"

    assert printed(code) == "1\n"


def test_the_plugin_costs_a_session_nothing():
    """It imports neither asyncio, sockets nor the link before a test asks for the fixture."""
    code = (
        "import sys, pytest; before = set(sys.modules); import snapext.pytest_plugin\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('snapext.guest')))"
    )
    environ = clean_environ(PYTHONPATH=os.pathsep.join([str(SRC), str(Path(pytest.__file__).parents[1])]))
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=LIMIT_S)
    new = set(done.stdout.split()) - {"snapshot_restore_py"}
    assert {name for name in new if name.startswith(("asyncio", "socket", "snapext.link", "snapext.testing"))} == set()
    assert "snapext.pytest_plugin" in new
