"""What stands in two places, because neither may import the other, says the same; anything else has one home."""

from docs.architecture import MODULES, source
from helpers import for_each
from snapext.command import main
from snapext.guest import own
from snapext_extension import observing
from snapext_extension.kernel.processes import parse_stat


def modules_that_say(text):
    """The modules in which a string is exactly that text."""
    return {name for name in MODULES if text in source(name).strings}


def test_two_modules_know_the_variable_of_the_initialization_type():
    """The client has one home for it, and the extension another; all the rest asks these."""
    assert modules_that_say(own.ENV_INITIALIZATION_TYPE) == {"snapext.guest.own", "snapext_extension.observing"}


@for_each("value", [None, "", "snap-start", "SNAP-START", "snap-start ", "on-demand", "x"])
def test_client_and_extension_agree_on_snap_start(value):
    """What the extension holds, the processes wait for."""
    environ = {} if value is None else {"AWS_LAMBDA_INITIALIZATION_TYPE": value}

    assert own.is_snap_start(environ) is observing.is_snap_start(environ) is (value == "snap-start")


@for_each("value", [None, "", "off", "false", "OFF", "off ", "auto", "0"])
def test_client_and_extension_agree_on_off(value):
    """An unquoted off in YAML is false, and CloudFormation gives the function that word."""
    environ = {} if value is None else {"SNAPEXT_MODE": value}

    assert own.is_off(environ) is observing.is_off(environ) is (value in ("off", "false"))
    assert own.is_expected({**environ, "SNAPEXT_SOCKET": "/s"}) is not own.is_off(environ)


@for_each("name", [b"sh", b"a b", b") R 1 (x", b"))((", b"", b"\xff"])
def test_command_and_extension_read_a_line_of_stat_alike(name):
    """A process may give itself any name, brackets and spaces included; neither reads a field of it."""
    line = b"7 (" + name + b") S 3 7 7 0 -1 4194560 " + b" ".join(b"%d" % n for n in range(10, 60))
    ours = parse_stat(line)

    assert (ours.parent_pid, ours.start_ticks) == (main.parent_pid_in(line), main.start_ticks_in(line)) == (3, 22)
