"""The registry: how hooks are registered."""

import functools

import pytest

import snapext
from phases import no_hooks
from snapext.link import linking

PHASES = [
    pytest.param(snapext.register_before_snapshot, snapext.get_before_snapshot, id="before_snapshot"),
    pytest.param(snapext.register_after_restore, snapext.get_after_restore, id="after_restore"),
]


@pytest.fixture(autouse=True)
def empty_registries():
    """Each test starts without hooks, links to nothing, and leaves the lists as it found them."""
    with no_hooks():
        yield


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
