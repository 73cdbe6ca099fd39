"""The registry: how hooks are registered, and that it is one registry with snapshot_restore_py."""

import functools
import json
import subprocess
import sys

import pytest

import snapext
from helpers import LIMIT_S, SRC, clean_environ
from snapext.link import linking

PHASES = [
    pytest.param(snapext.register_before_snapshot, snapext.get_before_snapshot, id="before_snapshot"),
    pytest.param(snapext.register_after_restore, snapext.get_after_restore, id="after_restore"),
]


@pytest.fixture(autouse=True)
def empty_registries(monkeypatch):
    """Each test starts without hooks, links to nothing, and leaves the lists as it found them."""
    monkeypatch.setattr(linking, "hook_registered", lambda: None)
    registries = (snapext.get_before_snapshot(), snapext.get_after_restore())
    kept = [list(registry) for registry in registries]
    for registry in registries:
        registry.clear()
    yield
    for registry, hooks in zip(registries, kept, strict=True):
        registry[:] = hooks


def hook(*args, **kwargs):
    return args, kwargs


@pytest.mark.parametrize(("register", "get"), PHASES)
def test_a_decorator_registers_and_returns_the_function_itself(register, get):
    """Decorating a function leaves it callable as before."""

    @register
    def decorated():
        return 42

    assert ([(decorated, (), {})], 42) == (get(), decorated())


@pytest.mark.parametrize(("register", "get"), PHASES)
def test_a_call_registers_the_function_with_its_arguments(register, get):
    """The call form keeps positional and keyword arguments, even those named like parameters of ours."""
    assert hook is register(hook, 1, "two", three=3, self=4, args=5)
    assert [(hook, (1, "two"), {"three": 3, "self": 4, "args": 5})] == get()


@pytest.mark.parametrize(("register", "get"), PHASES)
def test_hooks_are_kept_in_order_and_twice_if_registered_twice(register, get):
    """The registry is a list in order of registration, in which nothing is merged."""
    other = functools.partial(hook, 1)
    for func in (hook, other, hook):
        register(func)

    assert [hook, other, hook] == [func for func, _, _ in get()]


@pytest.mark.parametrize(("register", "get"), PHASES)
def test_the_registries_are_separate_and_live(register, get):
    """A hook goes to its own phase alone, and a list once got shows what is registered later."""
    (other,) = (p.values[1] for p in PHASES if p.values[1] is not get)
    live = get()
    register(hook)

    assert ([hook], []) == ([func for func, _, _ in live], other())


@pytest.mark.parametrize(
    "error", [ImportError("no threads"), RuntimeError("can't start new thread"), OSError(24, "fds")]
)
def test_registering_never_raises(monkeypatch, capfd, error):
    """Whatever keeps this process from being linked, the hook is registered and nothing is printed."""

    def broken():
        raise error

    monkeypatch.setattr(linking, "hook_registered", broken)
    snapext.register_after_restore(hook)

    assert len(snapext.get_after_restore()) == 1
    assert capfd.readouterr() == ("", "")


# --- one registry with snapshot_restore_py, each case in a process of its own ---------------------------------------


def run(code, *options, **variables):
    """What `code` prints as JSON in a new interpreter."""
    command = [sys.executable, *options, "-c", code]
    environ = clean_environ(PYTHONPATH=str(SRC), **variables)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


USE_BOTH = """
import json
{first}
{second}
ours.register_before_snapshot(print, 1); theirs.register_before_snapshot(print, 2)
theirs.register_after_restore(print, 3); ours.register_after_restore(print, 4)
print(json.dumps([[args[0] for _, args, _ in get()] for get in (
    ours.get_before_snapshot, theirs.get_before_snapshot, ours.get_after_restore, theirs.get_after_restore)]))
"""
IMPORTS = ["import snapext as ours", "import snapshot_restore_py as theirs"]


@pytest.mark.parametrize("order", [IMPORTS, IMPORTS[::-1]], ids=["ours first", "theirs first"])
def test_the_registry_is_shared_with_the_real_module_whichever_is_imported_first(order):
    """A hook counts, in its place in the order, whichever of the two modules it was registered with."""
    pytest.importorskip("snapshot_restore_py")
    assert run(USE_BOTH.format(first=order[0], second=order[1])) == [[1, 2], [1, 2], [3, 4], [3, 4]]


BROKEN_MODULES = {
    "raises": "raise OSError('broken')",
    "syntax error": "def (:",
    "an unrelated module": "pass",
    "getter raises": "def get_before_snapshot(): raise OSError\ndef get_after_restore(): raise OSError",
    "half": "def get_before_snapshot(): return []",
}


@pytest.mark.parametrize("source", BROKEN_MODULES.values(), ids=BROKEN_MODULES)
def test_a_broken_module_of_that_name_does_not_break_ours(tmp_path, source):
    """Importing and registering never raises, whatever is found under the name snapshot_restore_py."""
    (tmp_path / "snapshot_restore_py.py").write_text(source)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import snapext; snapext.register_after_restore(print); "

    assert run(code + "print(len(snapext.get_after_restore()))") == 1


def test_importing_the_package_is_light():
    """`import snapext` brings none of the modules that a cold start would notice."""
    heavy = ["socket", "threading", "json", "asyncio", "typing", "logging", "dataclasses", "select", "random"]
    code = (
        f"import sys; assert 'site' not in sys.modules; import snapext; "
        f"seen = [name for name in {heavy} if name in sys.modules]; import json; print(json.dumps(seen))"
    )

    assert run(code, "-S") == []


def test_importing_starts_nothing():
    """Importing alone makes no thread and no connection where no extension is to be expected."""
    assert run("import snapext, os; snapext.status(); print(len(os.listdir('/proc/self/task')))") == 1
