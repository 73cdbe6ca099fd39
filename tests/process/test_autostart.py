"""The autostart folder on PYTHONPATH, in real processes."""

import os
import shutil
import textwrap
import venv

import pytest

from helpers import AUTOSTART, SRC, App, Listener, clean_environ
from snapext.protocol import HookCounts, Hooks

NAMES = ["snapext", "snapshot_restore_py", "snapshot_restore"]


@pytest.fixture
def listener(tmp_path):
    with Listener(tmp_path / "bridge" / "bridge.sock") as listener:
        yield listener


@pytest.fixture
def start(tmp_path):
    """Start a process with the autostart folder first on its path; `more` are folders behind it."""
    apps = []

    def start(code, *, more=(), autostart=AUTOSTART, options=(), **variables):
        path = os.pathsep.join(map(str, (autostart, *more)))
        socket_path = tmp_path / "bridge" / "bridge.sock"
        environ = clean_environ(PYTHONPATH=path, SNAPEXT_SOCKET=str(socket_path), **variables)
        apps.append(App(textwrap.dedent(code), environ, *options))
        return apps[-1]

    yield start
    for app in apps:
        app.__exit__()


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory):
    """An interpreter in which neither snapext nor snapshot_restore_py is installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True, with_pip=False)
    return str(folder / "bin" / "python")


@pytest.fixture
def start_bare(tmp_path, bare_python):
    """Like `start`, where the only snapext is the one that the autostart folder belongs to."""
    apps = []

    def start(code, *, more=()):
        path = os.pathsep.join(map(str, (AUTOSTART, *more)))
        environ = clean_environ(PYTHONPATH=path, SNAPEXT_SOCKET=str(tmp_path / "bridge" / "bridge.sock"))
        apps.append(App(textwrap.dedent(code), environ, python=bare_python))
        return apps[-1]

    yield start
    for app in apps:
        app.__exit__()


def folder_with(tmp_path, name, source):
    folder = tmp_path / name.replace(".", "_")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(textwrap.dedent(source))
    return folder


def test_a_process_that_does_not_ask_gets_nothing(start):
    """Without an import of ours, nothing of snapext is loaded, no thread runs and nothing is printed."""
    code = """
        import sys, threading
        print([m for m in sys.modules if m.startswith(("snapext", "snapshot"))], threading.active_count())
        print([m for m in ("socket", "json", "asyncio", "logging") if m in sys.modules])
    """

    assert start(code).end() == ("[] 1\n[]\n", "")


@pytest.mark.parametrize("name", NAMES)
def test_importing_any_of_the_names_links_the_process(listener, start_bare, name):
    """An app that never mentions snapext is linked by the import that it has, before it registers anything."""
    app = start_bare(f"import {name}\nimport sys; sys.stdin.readline()")

    assert (app.process.pid, HookCounts(0, 0)) == ((hello := listener.accept().greet()).pid, hello.hooks)


@pytest.mark.parametrize("name", NAMES)
def test_hooks_registered_under_any_name_count(listener, start_bare, name):
    """With stand-ins, all three names share one registry."""
    app = start_bare(
        f"""
        import {name}; import sys; sys.stdin.readline()
        {name}.register_after_restore({name}.register_after_restore, print)
        import snapext, snapshot_restore, snapshot_restore_py
        for module in (snapext, snapshot_restore, snapshot_restore_py):
            module.register_before_snapshot(print)
        print(*(len(m.get_before_snapshot()) for m in (snapext, snapshot_restore, snapshot_restore_py)))
        """
    )
    peer = listener.accept()
    peer.greet()
    app.go()
    while peer.next(Hooks).hooks != HookCounts(3, 1):
        pass

    assert app.end()[0] == "3 3 3\n"


def test_the_real_module_is_used_where_it_is_present(listener, start):
    """AWS's own snapshot_restore_py is not replaced, links the process, and its hooks are counted with ours."""
    pytest.importorskip("snapshot_restore_py")
    app = start(
        """
        import snapshot_restore_py as real
        print(hasattr(real, "__snapext__"), real.__file__.endswith("snapshot_restore_py.py"))
        real.register_after_restore(print)
        import snapext
        print(snapext.get_after_restore() is real.get_after_restore(), flush=True)
        import sys; sys.stdin.readline()
        """
    )
    listener.accept().greet()

    assert [app.line(), app.line()] == ["False True", "True"]


@pytest.mark.parametrize("name", NAMES)
def test_the_modules_look_ordinary(start, start_bare, name):
    """Whoever looks at a module, its spec or its loader sees what there would be without us."""
    code = f"""
        import importlib.util, inspect
        before = importlib.util.find_spec({name!r})
        import {name} as module
        from importlib.machinery import SourceFileLoader
        for spec in (before, module.__spec__):
            assert spec.name == {name!r} == module.__name__
            assert spec.origin == module.__file__
            assert spec.loader.get_source({name!r}) == open(module.__file__).read()
            assert spec.loader.get_code({name!r}) is not None
        assert type(module.__loader__) is type(module.__spec__.loader) is SourceFileLoader
        assert inspect.getsource(module) == open(module.__file__).read()
        assert inspect.getsource(module.register_after_restore).startswith("def ")
        assert importlib.reload(module) is module
        print("ordinary")
    """

    assert start_bare(code).end() == ("ordinary\n", "")
    if name != "snapshot_restore":
        assert start(code).end() == ("ordinary\n", "")


def test_submodules_and_the_command_are_found(start_bare):
    """What lies below the package is imported as usual."""
    code = "import snapext.protocol, importlib.resources as r; print((r.files('snapext') / 'py.typed').is_file())"

    assert start_bare(code).end() == ("True\n", "")


def test_an_installed_snapext_comes_before_our_own(tmp_path, start):
    """The version that the app brings is the one that runs."""
    shutil.copytree(SRC / "snapext", tmp_path / "theirs" / "snapext", ignore=shutil.ignore_patterns("__pycache__"))
    app = start("import snapext; print(snapext.__file__)", more=[tmp_path / "theirs"])

    assert f"{tmp_path}/theirs/snapext/__init__.py\n" == app.end()[0]


def test_a_snapext_that_does_not_work_does_not_break_the_real_module(tmp_path, start):
    """An app that asked for AWS's module gets it, even if ours cannot be imported."""
    pytest.importorskip("snapshot_restore_py")
    broken = folder_with(tmp_path, "snapext.py", "raise RuntimeError('broken')")
    app = start("import snapshot_restore_py; print('goes on')", more=[broken])

    assert app.end() == ("goes on\n", "")


# --- a sitecustomize of the user's own -------------------------------------------------------------------------------


def test_a_users_sitecustomize_runs_first_and_under_its_own_name(tmp_path, start):
    """The module that our folder hides is run, once, and is what `import sitecustomize` gives."""
    theirs = folder_with(tmp_path, "sitecustomize.py", "print('theirs', __name__); mark = 1")
    app = start("import sitecustomize; print(sitecustomize.mark, sitecustomize.__file__)", more=[theirs])

    assert (f"theirs sitecustomize\n1 {theirs}/sitecustomize.py\n", "") == app.end()


def test_a_users_sitecustomize_that_raises_is_reported_as_ever(tmp_path, start, listener):
    """Its error is Python's usual notice, and the process is linked nevertheless."""
    theirs = folder_with(tmp_path, "sitecustomize.py", "raise RuntimeError('their own fault')")
    app = start("import snapext, sys; sys.stdin.readline()", more=[theirs])
    assert app.process.pid == listener.accept().greet().pid
    _, err = app.end()

    assert "their own fault" in err
    assert "snapext" not in err.replace(str(AUTOSTART), "")


def test_a_users_sitecustomize_that_loads_the_next_one_ends(tmp_path, start):
    """Two that each run what they hide do not call each other for ever."""
    chain = """
        import importlib.machinery, importlib.util, os, sys
        here = os.path.dirname(os.path.abspath(__file__))
        print("theirs")
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [p for p in sys.path if p != here])
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    """
    theirs = folder_with(tmp_path, "sitecustomize.py", chain)
    code = "import sys, snapext; print(sum(type(f).__name__ == 'LinkingFinder' for f in sys.meta_path))"

    assert start(code, more=[theirs]).end() == ("theirs\n1\n", "")


def test_a_users_sitecustomize_may_use_snapext(tmp_path, start, listener):
    """Hooks may be registered there: it runs before the link is in place, and the first hook makes it."""
    theirs = folder_with(tmp_path, "sitecustomize.py", "import snapext; snapext.register_after_restore(print)")
    app = start("import sys; sys.stdin.readline()", more=[theirs])

    assert app.process.pid == listener.accept().greet().pid


def test_the_folder_twice_on_the_path_does_no_harm(start):
    """An entry with another spelling is still our folder."""
    again = f"{AUTOSTART}/../autostart/"

    assert start("import snapext; print(1)", more=[again, f"{AUTOSTART}/"]).end() == ("1\n", "")


@pytest.mark.parametrize("options", [["-S"], ["-E"], ["-I"], ["-W", "error"], ["-X", "dev"], ["-O"]], ids=" ".join)
def test_every_way_to_start_python_still_works(start, options):
    """Switches that turn the folder off or make Python strict change nothing about the program."""
    assert start("print('up')", options=options).end() == ("up\n", "")


def test_the_folder_costs_next_to_nothing(start):
    """It brings a handful of the standard library's smallest modules and nothing else."""
    code = "import sys; print(*sys.modules)"
    with App(code, clean_environ()) as plain:
        extra = set(start(code).end()[0].split()) - set(plain.end()[0].split())

    assert len(extra) < 20
    assert not extra & {"socket", "threading", "json", "asyncio", "typing", "logging", "dataclasses", "re", "inspect"}
