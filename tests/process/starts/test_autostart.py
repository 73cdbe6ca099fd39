"""The autostart folder on PYTHONPATH, in real processes."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import venv
from pathlib import Path

import pytest

from helpers import AUTOSTART, SRC, App, Listener, clean_environ
from snapext.wire.messages import HookCounts, Hooks
from snapext_layer.interpreters import PTH_LINE
from snapext_tools.simulator import folder as simulators_folder
from snapext_tools.simulator.folder import runtime_environment

NAMES = ["snapext", "snapshot_restore_py", "snapshot_restore"]
USER_BASE = AUTOSTART / "user-base"
BASE_PYTHON = str(Path(sys.executable).resolve())
"""The interpreter itself: a virtual environment has no user site."""


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
    """Like `start`, where the only snapext is the autostart folder's."""
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


def test_a_library_that_is_to_be_taken_care_of_links_the_process(listener, start, tmp_path):
    """SNAPEXT_INTEGRATIONS in an app that never mentions snapext: else nothing would be done, in silence."""
    library = folder_with(tmp_path, "asyncpg.py", "")
    app = start("import asyncpg; import sys; sys.stdin.readline()", more=[library], SNAPEXT_INTEGRATIONS="auto")

    assert (app.process.pid, HookCounts(1, 0)) == ((hello := listener.accept().greet()).pid, hello.hooks)


@pytest.mark.parametrize("setting", [{}, {"SNAPEXT_INTEGRATIONS": "none"}])
def test_else_a_library_links_nothing(start, tmp_path, setting):
    """And importing one that is absent fails as ever."""
    library = folder_with(tmp_path, "asyncpg.py", "")
    code = "import asyncpg, sys; print('snapext' in sys.modules)"

    assert start(code, more=[library], **setting).end() == ("False\n", "")
    absent = "\ntry: import sqlalchemy.nosuch\nexcept ModuleNotFoundError: print('absent')"
    assert start(absent, SNAPEXT_INTEGRATIONS="auto").end() == ("absent\n", "")


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
    """A module, its spec and its loader look as they would without us."""
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
    code = "import snapext.wire, importlib.resources as r; print((r.files('snapext') / 'py.typed').is_file())"

    assert start_bare(code).end() == ("True\n", "")


def test_an_installed_snapext_comes_before_our_own(tmp_path, start):
    """The app's own version runs."""
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


@pytest.mark.parametrize("hides_itself", [False, True], ids=["as newrelic", "as ddtrace"])
def test_a_sitecustomize_before_ours_that_runs_ours_is_run_once(tmp_path, hides_itself):
    """Theirs is first on the path and runs what it hides; we run what is behind us, and not theirs again."""
    chain = f"""
        import importlib.machinery, importlib.util, os, sys
        here = os.path.dirname(os.path.abspath(__file__))
        print("theirs")
        path = [p for p in sys.path if p != here]
        if {hides_itself}:
            sys.path.remove(here)
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        if {hides_itself}:
            sys.path.insert(0, here)
    """
    theirs = folder_with(tmp_path, "sitecustomize.py", chain)
    (tmp_path / "users").mkdir()
    users = folder_with(tmp_path / "users", "sitecustomize.py", "print('users')")
    code = "import sys; print(sum(type(f).__name__ == 'LinkingFinder' for f in sys.meta_path))"

    with App(code, clean_environ(PYTHONPATH=f"{theirs}:{AUTOSTART}:{users}")) as app:
        assert app.end() == ("theirs\nusers\n1\n", "")


def test_two_copies_of_ours_hide_nobody(tmp_path, start):
    """Say an image's and a virtual environment's: the one finder is put in place, and what both hide is run once."""
    copy = tmp_path / "copy" / "snapext" / "autostart"
    shutil.copytree(AUTOSTART, copy, ignore=shutil.ignore_patterns("__pycache__"))
    theirs = folder_with(tmp_path, "sitecustomize.py", "print('theirs')")
    code = "import sys; print(sum(type(f).__name__ == 'LinkingFinder' for f in sys.meta_path))"

    assert start(code, more=[copy, theirs]).end() == ("theirs\n1\n", "")
    looks_back = """
        import importlib.machinery, importlib.util, os, sys
        print("theirs")
        here = os.path.dirname(os.path.abspath(__file__))
        for start in range(len(sys.path)):
            spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [p for p in sys.path[start:] if p != here])
            if spec is not None:
                spec.loader.exec_module(importlib.util.module_from_spec(spec))
    """
    (theirs / "sitecustomize.py").write_text(textwrap.dedent(looks_back))
    assert start(code, more=[copy, theirs]).end() == ("theirs\n1\n", "")


def test_a_process_that_forgets_our_module_is_linked_once(start):
    """Some tools remove from sys.modules what they have not imported themselves (a PEX)."""
    code = """
        import sys
        del sys.modules["_snapext_autostart"]
        import _snapext_autostart
        print(sum(type(f).__name__ == "LinkingFinder" for f in sys.meta_path))
    """
    assert start(code).end() == ("1\n", "")


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


@pytest.mark.parametrize("channels", [{}, {"PYTHONUSERBASE": str(USER_BASE)}], ids=["path", "path and user site"])
def test_the_folder_costs_next_to_nothing(channels):
    """It imports a handful of the standard library's smallest modules and nothing else."""
    code = "import sys; print(*sys.modules)"
    with (
        App(code, clean_environ(), python=BASE_PYTHON) as plain,
        App(code, clean_environ(PYTHONPATH=str(AUTOSTART), **channels), python=BASE_PYTHON) as linked,
    ):
        extra = set(linked.end()[0].split()) - set(plain.end()[0].split())

    assert len(extra) < 20
    assert not extra & {"socket", "threading", "json", "asyncio", "typing", "logging", "dataclasses", "re", "inspect"}


@pytest.mark.parametrize("name", NAMES)
def test_elsewhere_an_import_starts_nothing(start_bare, name):
    """Neither under SnapStart nor with a socket set: for example, a laptop that runs the image."""
    code = f"import {name}, threading; print(threading.active_count())"

    with App(code, clean_environ(PYTHONPATH=str(AUTOSTART)), python=bare(start_bare)) as app:
        assert app.end() == ("1\n", "")


def bare(start):
    """The interpreter that `start_bare` starts."""
    return start("pass").process.args[0]


# --- the user site ---------------------------------------------------------------------------------------------------


def seen_by(code, **variables):
    """The output of a process of the interpreter itself."""
    with App(code, clean_environ(**variables), python=BASE_PYTHON) as app:
        return app.end()


@pytest.fixture
def home(tmp_path):
    """A home with packages of the user's own: a module, a .pth file that asks whether we are there, a usercustomize."""
    site = tmp_path / "home" / ".local" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    site.mkdir(parents=True)
    (site / "mine.py").write_text("")
    (site / "more").mkdir()
    asks = "import sys; print('pth', hasattr(sys, '_snapext_autostart'))\n"
    (site / "mine.pth").write_text(f"more\n{asks}")
    (site / "usercustomize.py").write_text("print('usercustomize')")
    return tmp_path / "home"


def test_the_user_site_links_where_pythonpath_is_lost(listener, tmp_path):
    """An app whose start script sets PYTHONPATH anew is linked by the import that it has."""
    environ = clean_environ(
        PYTHONPATH=str(tmp_path), PYTHONUSERBASE=str(USER_BASE), SNAPEXT_SOCKET=str(tmp_path / "bridge" / "bridge.sock")
    )
    with App("import snapshot_restore_py, sys; sys.stdin.readline()", environ, python=BASE_PYTHON) as app:
        assert app.process.pid == listener.accept().greet().pid


SITE = """
import json, site, sys
names = ("USER_BASE", "USER_SITE", "ENABLE_USER_SITE")
print(json.dumps([sys.path, [getattr(site, name) for name in names], site.getusersitepackages(), site.getuserbase()]))
"""


def test_the_users_own_site_is_added_back(home):
    """Its .pth files and its usercustomize run, once and after ours; sys.path and `site` are as without us."""
    plain = seen_by(SITE, HOME=str(home))[0].splitlines()
    with_us = seen_by(SITE, HOME=str(home), PYTHONUSERBASE=str(USER_BASE))[0].splitlines()

    assert plain[:2] == ["pth False", "usercustomize"]
    assert with_us[:2] == ["pth True", "usercustomize"]
    assert json.loads(with_us[2]) == json.loads(plain[2])
    assert any(entry.endswith("/site-packages/more") for entry in json.loads(with_us[2])[0])


def test_a_home_without_a_site_adds_nothing(tmp_path):
    """As everywhere on Lambda."""
    plain = seen_by(SITE, HOME=str(tmp_path))
    assert seen_by(SITE, HOME=str(tmp_path), PYTHONUSERBASE=str(USER_BASE)) == plain


def test_what_a_process_starts_has_the_user_site_too(tmp_path):
    """PYTHONUSERBASE stays in its environment."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sys; print(sys._snapext_autostart)'])"

    assert seen_by(code, PYTHONUSERBASE=str(USER_BASE)) == ("True\n", "")


def test_all_channels_together_link_once(tmp_path):
    """By PYTHONPATH, the user site and an image's .pth file: one finder, and the hidden sitecustomize runs once."""
    theirs = folder_with(tmp_path, "sitecustomize.py", "print('theirs')")
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False, system_site_packages=True)
    (packages,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    (packages / "snapext.pth").write_text(PTH_LINE.replace("/opt/snapext/python/snapext/autostart", str(AUTOSTART)))
    code = "import sys; print(sum(type(f).__name__ == 'LinkingFinder' for f in sys.meta_path), sys.path[1:3])"
    environ = clean_environ(PYTHONPATH=f"{AUTOSTART}:{theirs}", PYTHONUSERBASE=str(USER_BASE))

    with App(code, environ, python=str(tmp_path / "venv" / "bin" / "python")) as app:
        assert app.end() == (f"theirs\n1 ['{AUTOSTART}', '{theirs}']\n", "")


@pytest.mark.parametrize("options", [["-E"], ["-I"], ["-s"], ["-S"], ["-W", "error"], ["-X", "dev"]], ids=" ".join)
def test_every_way_to_start_python_works_with_the_user_site(options):
    """Nothing is printed, whatever the switches."""
    environ = clean_environ(PYTHONUSERBASE=str(USER_BASE))
    with App("print('up')", environ, *options, python=BASE_PYTHON) as app:
        assert app.end() == ("up\n", "")


def test_an_image_whose_opt_is_not_there_says_nothing(tmp_path):
    """A virtual environment may be copied into an image without the layer."""
    venv.create(tmp_path / "venv", symlinks=True, with_pip=False)
    (packages,) = (tmp_path / "venv" / "lib").glob("*/site-packages")
    (packages / "snapext.pth").write_text(PTH_LINE.replace("/opt/", "/no/such/folder/"))
    code = "import sys; print([entry for entry in sys.path if entry.startswith('/no')])"
    with App(code, clean_environ(), python=str(tmp_path / "venv" / "bin" / "python")) as app:
        assert app.end() == ("[]\n", "")


# --- the local Lambda ------------------------------------------------------------------------------------------------


def test_the_simulator_gives_the_app_both_channels():
    """As the layer's wrapper does: a user base of the caller's own stays."""
    given = runtime_environment({}, {"PYTHONPATH": "/theirs"}, autostart=True)
    assert (given["PYTHONPATH"], given["PYTHONUSERBASE"]) == (f"{AUTOSTART}:/theirs", str(USER_BASE))
    assert runtime_environment({}, {"PYTHONUSERBASE": "/b"}, autostart=True)["PYTHONUSERBASE"] == "/b"
    assert "PYTHONUSERBASE" not in runtime_environment({}, {}, autostart=False)


def test_the_simulators_extension_looks_behind_the_standard_library(tmp_path, monkeypatch):
    """The folder that snapext is installed in may have a json.py; and the process is marked as snapext's own."""
    folder = tmp_path / "site"
    (folder / "snapext_extension").mkdir(parents=True)
    main = "import json, sys\ndef main(argv):\n print(json.__file__, sys._snapext_own)"
    (folder / "snapext_extension" / "__main__.py").write_text(main)
    (folder / "json.py").write_text("")
    monkeypatch.setattr(simulators_folder, "_folder_of", lambda _package: str(folder))
    extensions = simulators_folder.lay_out(str(tmp_path), "none").extensions_folder
    done = subprocess.run([f"{extensions}/snapext"], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == ""
    assert done.stdout == f"{json.__file__} True\n"


# --- OpenTelemetry ---------------------------------------------------------------------------------------------------

OTEL = {f"OTEL_{kind}_EXPORTER": "none" for kind in ("TRACES", "METRICS", "LOGS")}
BOTH = """
import sys
print("opentelemetry.instrumentation.auto_instrumentation._load" in sys.modules, hasattr(sys, "_snapext_autostart"))
"""


def otel_folder():
    import opentelemetry.instrumentation.auto_instrumentation as instrumentation

    return str(Path(instrumentation.__file__).parent)


def test_opentelemetry_behind_ours_runs_as_well(start):
    """Its sitecustomize is the hidden one, which we run."""
    assert start(BOTH, more=[otel_folder()], **OTEL).end() == ("True True\n", "")


def test_opentelemetry_instrument_and_the_user_site_both_run(tmp_path):
    """Its sitecustomize runs no other, so ours on PYTHONPATH is lost: the user site still links."""
    instrument = Path(sysconfig.get_path("scripts")) / "opentelemetry-instrument"
    path = os.pathsep.join((str(AUTOSTART), sysconfig.get_path("purelib")))
    done = subprocess.run(
        [str(instrument), BASE_PYTHON, "-c", BOTH],
        env=clean_environ(PYTHONPATH=path, PYTHONUSERBASE=str(USER_BASE), **OTEL),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("True True\n", "")
