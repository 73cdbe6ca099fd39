"""What every integration has in common, with a library of the tests' own."""

import ast
import asyncio
import gc
import re
import sys
import threading
import types

import pytest

import snapext
from helpers import AUTOSTART, ROOT
from snapext.guest import notice
from snapext.hooks import loops, runner
from snapext.integrations import apps_loop, frame, objects, table
from snapext.link import told


class Client:
    """What the library `lib` keeps."""


class Lib(frame.Integration):
    def __init__(self, name="lib"):
        super().__init__(f"snapext.integrations.{name}")
        self.seen = []

    def classes(self):
        return (Client,)

    def before_snapshot(self, thing):
        self.seen.append(("before", self.name, thing))

    def after_restore(self, thing):
        self.seen.append(("after", self.name, thing))


class World:
    """A table of two libraries, no hooks, and what is said on standard error."""

    def __init__(self, monkeypatch):
        self.lines = []
        self.calls = []
        monkeypatch.setattr(table, "TABLE", (table.Entry("pool", "lib_pool"), table.Entry("lib", "lib_itself")))
        monkeypatch.setattr(table, "attended", set())
        monkeypatch.setattr(frame, "_wanted", set())
        monkeypatch.setattr(notice, "_say", lambda line: self.lines.append(line) or True)
        monkeypatch.setattr(notice, "_said", set())
        monkeypatch.setattr(snapext.hooks.registry, "when_registered", lambda: None)
        self.monkeypatch = monkeypatch
        for hooks in (snapext.get_before_snapshot(), snapext.get_after_restore()):
            hooks.clear()

    def load(self, name, integration):
        """The library is loaded, and our module of it can be imported."""
        entry = next(entry for entry in table.TABLE if entry.name == name)
        self.monkeypatch.setitem(sys.modules, entry.library, types.ModuleType(entry.library))
        module = types.ModuleType(entry.module)
        module.install = integration.install
        self.monkeypatch.setitem(sys.modules, entry.module, module)

    def before(self):
        hooks = (snapext.get_before_snapshot(), snapext.get_after_restore())
        outcome = runner.run(runner.before_snapshot(*hooks, 10_000, lambda _: None))
        return [timing.name for timing in outcome.hooks], outcome.error

    def after(self):
        outcome = runner.run(runner.after_restore(snapext.get_after_restore(), 10_000, lambda _: None))
        return [timing.name for timing in outcome.hooks], outcome.error


@pytest.fixture
def world(monkeypatch):
    yield World(monkeypatch)
    for hooks in (snapext.get_before_snapshot(), snapext.get_after_restore()):
        hooks.clear()


def test_it_runs_behind_the_apps_hooks_before_and_in_front_of_them_after(world):
    """Whenever it is installed; what stands first in the table is closed first and renewed last."""

    def hook():
        pass

    pool, lib = Lib("pool"), Lib("lib")
    world.load("pool", pool)
    world.load("lib", lib)
    snapext.register_before_snapshot(hook)
    snapext.register_after_restore(hook)
    lib.install()
    snapext.install_all()
    snapext.register_before_snapshot(hook)
    snapext.register_after_restore(hook)
    name, ours = runner.hook_name(hook), "snapext.integrations"

    before = [name, name, f"{ours}.look", f"{ours}.pool.before_snapshot", f"{ours}.lib.before_snapshot"]
    assert world.before() == (before, None)
    after = [f"{ours}.lib.after_restore", f"{ours}.pool.after_restore", name, name]
    assert world.after() == (after, None)


def test_twice_is_once(world):
    """Also for an object that is given and found as well."""
    lib, client = Lib(), Client()
    world.load("lib", lib)
    for _ in range(2):
        snapext.install_all()
        lib.install()
        lib.install(client)

    world.before()
    world.after()
    world.before()

    assert [what for what, _, thing in lib.seen if thing is client] == ["before", "after", "before"]
    assert len(snapext.get_after_restore()) == 1


def test_what_others_put_in_front_changes_nothing(world):
    """`fresh` puts its hooks in front as well: ours are there once, and in the order of the table, all the same."""
    pool, lib, client = Lib("pool"), Lib("lib"), Client()
    world.load("pool", pool)
    world.load("lib", lib)
    pool.install()

    @snapext.fresh
    def secret():
        pass

    lib.install()
    pool.install()
    snapext.install_all()

    names, error = world.before()
    ours = ["look", "pool.before_snapshot", "lib.before_snapshot"]
    assert error is None
    assert [name for name in names if ".integrations." in name] == [f"snapext.integrations.{name}" for name in ours]
    assert [name for _, name, thing in lib.seen + pool.seen if thing is client] == ["lib", "pool"]


def test_only_what_was_given_is_taken_care_of(world):
    """And it lives no longer because of us."""
    lib, given, gone, _other = Lib(), Client(), Client(), Client()
    world.load("lib", lib)
    lib.install(given)
    lib.install(gone)
    del gone

    world.before()

    assert [thing for _, _, thing in lib.seen] == [given]


def test_what_is_loaded_and_made_late_counts(world):
    """By the app's own before-snapshot hook, the last moment; and a library that is not loaded costs nothing."""
    lib = Lib()
    things = []

    @snapext.register_before_snapshot
    def load():
        world.load("lib", lib)
        things.append(Client())

    snapext.install_all()

    assert world.before()[1] is None
    assert things[0] in [thing for _, _, thing in lib.seen]
    assert "snapext.integrations.pool" not in sys.modules


def test_what_fails_is_said_when_all_others_are_done(world):
    """The boundary fails: what should not be frozen is."""

    class Failing(Lib):
        def before_snapshot(self, thing):
            super().before_snapshot(thing)
            raise OSError(f"no. {len(self.seen)}")

    lib, clients = Failing(), [Client(), Client()]
    world.load("lib", lib)
    for client in clients:
        lib.install(client)

    _, error = world.before()

    assert len(lib.seen) == 2
    assert (error.type, error.hook) == ("IntegrationError", "snapext.integrations.lib.before_snapshot")
    assert "lib: could not close before the snapshot, 2 times: OSError('no. 1'), OSError('no. 2')" in error.message


def test_a_version_that_does_not_fit_says_so(world):
    """An older library has not the class that we look for: the line says which library, and how to go on."""

    class Older(Lib):
        def classes(self):
            from asyncio import NoSuchClass  # noqa: F401

    world.load("lib", Older())
    snapext.install_all()

    _, error = world.before()

    assert (error.type, error.hook) == ("IntegrationError", "snapext.integrations.lib.before_snapshot")
    what = "lib: this version of lib_itself does not have what snapext looks for (cannot import name "
    assert error.message.startswith(what)
    assert error.message.endswith("or name in SNAPEXT_INTEGRATIONS the libraries to take care of, without lib")


def test_one_look_finds_the_objects_of_all(world, monkeypatch):
    """It reads every object of the process. Nothing is held when the last one is done."""
    looks = []
    monkeypatch.setattr(objects, "alive", lambda classes, alive=objects.alive: looks.append(classes) or alive(classes))

    class Other:
        pass

    class Second(Lib):
        def classes(self):
            return (Other,)

    lib, second, client, other = Lib(), Second("pool"), Client(), Other()
    world.load("lib", lib)
    world.load("pool", second)
    snapext.install_all()
    for _ in range(2):
        assert world.before()[1] is None

    assert [set(classes) for classes in looks] == [{Client, Other, asyncio.AbstractEventLoop}] * 2
    assert client in [thing for _, _, thing in lib.seen]
    assert other in [thing for _, _, thing in second.seen]
    assert not frame._look_at_objects._found


def test_what_is_awaited_runs_on_the_loop_of_the_app(world, monkeypatch):
    """Which nobody has bound: an app without hooks has told us of none."""
    monkeypatch.setattr(loops, "_bound", None)
    ran_on = []

    class Async(Lib):
        async def before_snapshot(self, thing):
            ran_on.append(asyncio.get_running_loop())

    lib, client = Async(), Client()
    world.load("lib", lib)
    lib.install(client)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert world.before()[1] is None
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert ran_on == [loop]
    assert world.lines == []


def test_what_a_library_cancels_has_not_been_done(world):
    """Its own CancelledError is no success, and not that of the hook: the others are done, and the phase fails."""

    class Async(Lib):
        async def before_snapshot(self, thing):
            self.seen.append(thing)
            if len(self.seen) == 1:
                raise asyncio.CancelledError

    lib, clients = Async(), [Client(), Client()]
    for client in clients:
        lib.install(client)
    _, error = world.before()
    assert lib.seen == clients
    assert error.type == "IntegrationError"
    assert error.message == "lib: could not close before the snapshot, 1 times: CancelledError('')"


def test_what_is_awaited_costs_no_look_of_its_own(world, monkeypatch):
    """Each library that has something to await wants the app's loop; where none runs, one search says so for all."""
    looks = []
    everything = gc.get_objects

    def get_objects(generation=None):  # the young ones alone are looked at for loops that a slow hook has left
        if generation is None:
            looks.append(1)
        return everything(generation)

    monkeypatch.setattr(gc, "get_objects", get_objects)
    monkeypatch.setattr(loops, "_bound", None)

    class Async(Lib):
        async def before_snapshot(self, thing):
            self.seen.append(thing)

    pool, lib, client = Async("pool"), Async("lib"), Client()
    world.load("pool", pool)
    world.load("lib", lib)
    snapext.install_all()

    assert world.before()[1] is None
    assert client in pool.seen
    assert client in lib.seen
    assert len(looks) == 1


def test_a_loop_that_does_not_turn_is_not_the_apps(world, monkeypatch):
    """In a fork, that of the parent looks as if it ran. It is waited for once, not for each library."""
    monkeypatch.setattr(loops, "_bound", None)
    monkeypatch.setattr(apps_loop, "TURNS_WITHIN_S", 0.01)
    searches = []

    class Standing(asyncio.SelectorEventLoop):
        stands = False

        def is_running(self):
            return self.stands

    def find(classes):
        searches.append(classes)
        return [loop]

    loop = Standing()
    loop.stands = True
    search = apps_loop.AppsLoop()
    for _ in range(2):
        search.bind(find)
    assert loops.bound() is None
    assert searches == [(asyncio.AbstractEventLoop,)]
    loop.stands = False
    loop.close()


def test_an_unknown_name_is_one_line(world):
    """The others are taken care of."""
    frame.install_all("lib, nosuch, pol")

    (line,) = world.lines
    assert (
        "SNAPEXT_INTEGRATIONS names 'nosuch', 'pol' (do you mean 'pool'?), and snapext knows auto, none and: " in line
    )
    assert table.attended == {"lib"}


@pytest.mark.parametrize(
    ("setting", "names"),
    [("none", set()), ("", set()), ("auto", {"pool", "lib"}), ("LIB ,", {"lib"}), ("lib,auto", {"pool", "lib"})],
)
def test_a_setting_names_libraries(world, setting, names):
    """`auto` is all of them."""
    assert table.named(setting) == (names, [])


@pytest.mark.parametrize(
    ("environment", "has_hooks", "said"),
    [
        ({}, False, True),
        ({}, True, False),
        ({"SNAPEXT_LOG_LEVEL": "debug"}, True, True),
        ({"SNAPEXT_LOG_LEVEL": "warning"}, False, False),
        ({"SNAPEXT_INTEGRATIONS": "none"}, False, False),
        ({"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, False, False),
    ],
)
def test_a_library_that_nobody_takes_care_of_is_named(world, environment, has_hooks, said):
    """Once a process; hooks of the app may do it, and then it is said to those alone who look for it."""
    for name, value in ({"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"} | environment).items():
        world.monkeypatch.setenv(name, value)
    world.load("lib", Lib())

    told._name_the_unattended(has_hooks=has_hooks)

    assert [" has loaded lib, and nothing closes" in line for line in world.lines] == [True] * said


def test_a_library_that_is_taken_care_of_is_not_named(world):
    """Whether all or one of its objects are."""
    world.monkeypatch.setenv("AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start")
    lib = Lib()
    world.load("lib", lib)
    lib.install(Client())

    told._name_the_unattended(has_hooks=False)

    assert world.lines == []


def test_frozen_objects_are_found_and_frozen_again():
    """gunicorn and uWSGI are told to call gc.freeze() before they fork; proxies are not asked what they are."""

    class Proxy:
        @property
        def __class__(self):
            raise AssertionError("asked")

    client, proxy = Client(), Proxy()
    gc.freeze()
    try:
        found = objects.alive((Client,))
        assert client in found
        assert proxy not in found
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_the_docs_have_the_table():
    """One line for each library, in the same order."""
    page = (ROOT / "docs" / "integrations.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [entry.name for entry in table.TABLE]


def test_the_autostart_knows_the_libraries():
    """With SNAPEXT_INTEGRATIONS it links a process that imports one; what is a part of Python is in every process."""
    source = ast.parse((AUTOSTART / "_snapext_autostart.py").read_text())
    (known,) = [
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LIBRARIES"
    ]
    libraries = {entry.library.partition(".")[0] for entry in table.TABLE} - set(sys.stdlib_module_names)
    assert set(known) == libraries


def test_the_table_is_sound():
    """Each name is that of a module of ours with `install`, and the module imports nothing but the standard library."""
    before = set(sys.modules)
    names = [entry.name for entry in table.TABLE]
    assert len(set(names)) == len(names)
    for entry in table.TABLE:
        module = __import__(entry.module, fromlist=["install"])
        assert callable(module.install)
        assert module.install.__doc__
    libraries = {entry.library.partition(".")[0] for entry in table.TABLE} - set(sys.stdlib_module_names)
    new = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert not libraries & new
