"""The simulated web adapter reads the real one's variables, with the real one's defaults."""

import pytest

from helpers import for_each
from snapext.errors import ConfigError
from snapext_tools.simulator._lwa_settings import parse_status_codes, read_settings

RUNTIME_API = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}


def test_defaults_are_those_of_the_real_adapter():
    """With no variable but the Runtime API's address, every setting has the documented default."""
    settings = read_settings(RUNTIME_API)

    assert settings.runtime_api == "127.0.0.1:9001"
    assert settings.app_url == "http://127.0.0.1:8080"
    assert settings.readiness_url == "http://127.0.0.1:8080/"
    assert settings.healthy_status == frozenset(range(100, 500))
    assert settings.hook_paths == frozenset()
    assert settings.pass_through_path == "/events"
    assert settings.readiness_timeout_s is None
    assert not any((settings.snap_start, settings.readiness_tcp, settings.async_init, settings.streaming))


@pytest.mark.parametrize(
    ("environ", "port", "readiness_port"),
    [
        ({"PORT": "3000"}, 3000, 3000),
        ({"AWS_LWA_PORT": "4000", "PORT": "3000"}, 4000, 4000),
        ({"AWS_LWA_PORT": "4000", "AWS_LWA_READINESS_CHECK_PORT": "5000"}, 4000, 5000),
    ],
)
def test_the_readiness_port_follows_the_app_port(environ, port, readiness_port):
    """AWS_LWA_PORT wins over PORT, and readiness is asked on the app's port unless it has its own."""
    settings = read_settings(RUNTIME_API | environ)

    assert settings.port == port
    assert settings.readiness_port == readiness_port


def test_every_variable_is_read():
    """Each variable reaches its setting, words in any case and hook paths with or without a slash."""
    settings = read_settings(
        RUNTIME_API
        | {
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_LWA_HOST": "localhost",
            "AWS_LWA_READINESS_CHECK_PATH": "/health?deep=1",
            "AWS_LWA_READINESS_CHECK_PROTOCOL": "TCP",
            "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "200",
            "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": "0.5",
            "AWS_LWA_PASS_THROUGH_PATH": "queue",
            "AWS_LWA_ASYNC_INIT": "true",
            "AWS_LWA_INVOKE_MODE": "RESPONSE_STREAM",
            "AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": "before",
            "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after",
        }
    )

    assert settings.readiness_url == "http://localhost:8080/health?deep=1"
    assert settings.healthy_status == {200}
    assert settings.hook_paths == {"/before", "/after"}
    assert settings.pass_through_path == "/queue"
    assert settings.readiness_timeout_s == 0.5
    assert all((settings.snap_start, settings.readiness_tcp, settings.async_init, settings.streaming))


def test_an_empty_hook_path_is_no_hook_path():
    """A hook path set to nothing turns the request off instead of posting to the root."""
    assert read_settings(RUNTIME_API | {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": ""}).after_restore_path is None


@pytest.mark.parametrize("value", ["0", "-1", "0.0"])
def test_a_readiness_timeout_of_nothing_is_none(value):
    """As in the real adapter: 0 and less mean no limit."""
    environ = RUNTIME_API | {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": value}

    assert read_settings(environ).readiness_timeout_s is None


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("200", {200}),
        ("200-202", {200, 201, 202}),
        (" 204 , 301-302,204", {204, 301, 302}),
    ],
)
def test_status_codes_are_codes_and_ranges(text, codes):
    """A list of codes and ranges, with any spacing, is the set of all of them."""
    assert parse_status_codes(text) == codes


@for_each(
    "variable, value",
    [
        ("AWS_LAMBDA_RUNTIME_API", ""),
        ("AWS_LWA_PORT", "http"),
        ("PORT", "0"),
        ("AWS_LWA_READINESS_CHECK_PORT", "65536"),
        ("AWS_LWA_READINESS_CHECK_PATH", "health"),
        ("AWS_LWA_READINESS_CHECK_PROTOCOL", "udp"),
        ("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS", "2xx"),
        ("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS", "299-200"),
        ("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS", "1-499"),
        ("AWS_LWA_READINESS_CHECK_HEALTHY_STATUS", ""),
        ("AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS", "soon"),
        ("AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS", "inf"),
        ("AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS", ""),
        ("AWS_LWA_ASYNC_INIT", "yes"),
        ("AWS_LWA_INVOKE_MODE", "streaming"),
    ],
)
def test_a_value_that_is_not_accepted_is_named(variable, value):
    """A wrong value raises an error that names the variable and quotes the value."""
    with pytest.raises(ConfigError) as raised:
        read_settings(RUNTIME_API | {variable: value})

    assert raised.value.variable == variable
    assert repr(value) in str(raised.value)
