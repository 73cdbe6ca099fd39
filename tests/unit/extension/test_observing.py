"""What is decided before we register agrees with what the settings say afterwards."""

import itertools

from snapext_extension import config, observing
from snapext_extension.platform.adapter import ADAPTER_FILE

SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}


def test_auto_observes_where_an_adapter_checks_something_else(tmp_path):
    """With SnapStart only, and never where the readiness check points at us, by whichever of its names."""
    assert not observing.observes(SNAP_START, str(tmp_path))  # no adapter: a checkpoint may come
    (tmp_path / ADAPTER_FILE).touch()
    names = ("AWS_LWA_READINESS_CHECK_PORT", "READINESS_CHECK_PORT", "SNAPEXT_PORT")
    for values in itertools.product((None, "9555", "8081", "09555"), repeat=3):
        environ = SNAP_START | {name: value for name, value in zip(names, values, strict=True) if value}
        environ["AWS_LWA_PORT"] = "8080"
        parsed = config.parse(environ, 1000)
        assert observing.observes(environ, str(tmp_path)) is (parsed.mode == "auto"), environ
        assert not observing.observes({**environ, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, str(tmp_path))


def test_a_mode_that_is_set_is_the_mode(tmp_path):
    """Beside an adapter or none."""
    for adapter in (False, True):
        if adapter:
            (tmp_path / ADAPTER_FILE).touch()
        for mode in ("explicit", "observe", "off"):
            environ = {**SNAP_START, "SNAPEXT_MODE": mode}
            assert config.parse(environ, 1000).mode == mode
            assert observing.observes(environ, str(tmp_path)) is (mode == "observe")
    assert not observing.observes({"SNAPEXT_MODE": "observe"}, str(tmp_path))


def test_the_port_is_the_same():
    """It stands in two places, because one of them is imported before we register."""
    assert int(observing.DEFAULT_PORT) == config.DEFAULT_PORT
