"""Every setting of the extension: its default, its bounds, and what is said about a value that is not accepted."""

import signal

import pytest

from helpers import for_each
from snapext.errors import ConfigError
from snapext.wire import signal_names
from snapext_extension.adapter_config import readiness_timeout_ms
from snapext_extension.config import KNOWN, parse, unknown_names, warnings

UID = 1000


def config(**environ):
    return parse(environ, UID)


def readiness(**environ):
    return config(**environ).readiness


NUMBERS = [
    ("SNAPEXT_PORT", "port", 9555, 1, 65535),
    ("SNAPEXT_WORKERS", "workers", None, 0, 1000),
    ("SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS", "before_snapshot_timeout_ms", 60_000, 1, 900_000),
    ("SNAPEXT_AFTER_RESTORE_TIMEOUT_MS", "after_restore_timeout_ms", 9_000, 1, 10_000),
    ("SNAPEXT_READY_TIMEOUT_MS", "ready_timeout_ms", 120_000, 1, 900_000),
    ("SNAPEXT_SETTLE_MS", "settle_ms", 500, 0, 60_000),
]
WORDS = [
    ("SNAPEXT_RESTORE_CALLER", "restore_caller", None, ["extension", "adapter"]),
    ("SNAPEXT_LOG_LEVEL", "log_level", "info", ["debug", "info", "warning", "error"]),
]
NOT_NUMBERS = ["", " ", "x", "1.5", "-1", "+1", " 1", "1 ", "1\n", "0x10", "1e3", "1_000", "٣", "²", "9" * 5_000, "NaN"]
NOT_WORDS = ["", " ", "Extension", "INFO", "info ", "info\n", "warn", "no such word"]


@for_each("variable, field, default, low, high", NUMBERS)
def test_a_number_has_a_default_and_bounds_that_are_accepted(variable, field, default, low, high):
    """Without the variable the default counts; with it, everything from the lowest to the highest number does."""
    assert default == getattr(config(), field)
    assert [low, high] == [getattr(config(**{variable: str(n)}), field) for n in (low, high)]


@for_each(
    "variable, value, low, high",
    [
        (variable, value, low, high)
        for variable, _, _, low, high in NUMBERS
        for value in (*NOT_NUMBERS, str(low - 1), str(high + 1))
    ],
)
def test_any_other_number_is_refused_in_one_line(variable, value, low, high):
    """The message names the variable, the value and what is accepted."""
    with pytest.raises(ConfigError) as refused:
        config(**{variable: value})

    assert f"{variable}={value!r} is not accepted: a whole number from {low} to {high}" == str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(("variable", "field", "default", "accepted"), WORDS)
def test_a_word_has_a_default_and_a_list(variable, field, default, accepted):
    """Without the variable the default counts, with it each of the words."""
    assert default == getattr(config(), field)
    assert accepted == [getattr(config(**{variable: word}), field) for word in accepted]


@for_each("value", NOT_WORDS)
@for_each(
    "variable", ["SNAPEXT_RESTORE_CALLER", "SNAPEXT_LOG_LEVEL", "SNAPEXT_MODE", "SNAPEXT_RESEED", "SNAPEXT_HOOK_THREAD"]
)
def test_an_unknown_word_is_never_a_default(variable, value):
    """A word that is misspelt, in another case or empty is refused in one line that lists what is accepted."""
    with pytest.raises(ConfigError) as refused:
        config(**{variable: value})

    assert (variable, value) == (refused.value.variable, refused.value.value)
    assert str(refused.value).startswith(f"{variable}={value!r} is not accepted: one of ")
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["0", "1"])
def test_reseeding_is_on_or_off(value):
    """The client reads SNAPEXT_RESEED; the extension only makes sure that it is one of the two."""
    config(SNAPEXT_RESEED=value)


@pytest.mark.parametrize("value", ["auto", "main", "link"])
def test_the_thread_of_hooks_is_one_of_three(value):
    """The client reads SNAPEXT_HOOK_THREAD as well."""
    config(SNAPEXT_HOOK_THREAD=value)


@pytest.mark.parametrize(("value", "expected"), [("snap-start", True), ("on-demand", False), ("Snap-Start", False)])
def test_only_snap_start_is_snap_start(value, expected):
    """Hooks run where the platform says snap-start and nowhere else."""
    assert config().snap_start is False
    assert expected is config(AWS_LAMBDA_INITIALIZATION_TYPE=value).snap_start


# --- the socket ------------------------------------------------------------------------------------------------------


def test_the_socket_is_the_users_own_or_as_set():
    """The default path has the user's id in it; an empty setting is none."""
    assert f"/tmp/snapext-{UID}/bridge.sock" == config().socket_path == config(SNAPEXT_SOCKET="").socket_path
    assert config(SNAPEXT_SOCKET="/run/x/y").socket_path == "/run/x/y"
    assert len(config(SNAPEXT_SOCKET="/" + "x" * 106).socket_path) == 107


@for_each("value", ["bridge.sock", "./x/y", "~/x", "/" + "x" * 107, "/" + "ü" * 54, "/" + "\udcff" * 107, " /x/y"])
def test_a_path_that_cannot_be_a_socket_is_refused(value):
    """A relative path, or one of more bytes than the kernel takes, is refused, whatever its bytes are."""
    with pytest.raises(ConfigError, match="an absolute path of at most 107 bytes") as refused:
        config(SNAPEXT_SOCKET=value)
    assert refused.value.variable == "SNAPEXT_SOCKET"


# --- the web adapter's settings --------------------------------------------------------------------------------------


@for_each(
    "environ, expected",
    [
        ({}, ("127.0.0.1", 8080, "/")),
        ({"PORT": "3000"}, ("127.0.0.1", 3000, "/")),
        ({"AWS_LWA_PORT": "3001", "PORT": "3000"}, ("127.0.0.1", 3001, "/")),
        ({"HOST": "::1", "READINESS_CHECK_PATH": "/old"}, ("::1", 8080, "/old")),
        ({"AWS_LWA_HOST": "localhost", "HOST": "::1"}, ("localhost", 8080, "/")),
        ({"AWS_LWA_READINESS_CHECK_PATH": "/new?x=1", "READINESS_CHECK_PATH": "/old"}, ("127.0.0.1", 8080, "/new?x=1")),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "AWS_LWA_PORT": "3000"}, ("127.0.0.1", 3000, "/")),
    ],
)
def test_the_app_is_where_the_adapter_would_look(environ, expected):
    """Host, port and path follow the adapter's variables, the older names where the newer are not set."""
    rule = readiness(**environ)

    assert expected == (rule.host, rule.port, rule.path)


@for_each("variable", ["AWS_LWA_PORT", "PORT"])
@for_each("value", ["", "0", "65536", "http", "80 "])
def test_a_port_that_is_none_is_refused_under_the_name_that_was_set(variable, value):
    """The message names the variable that counts, be it the older one."""
    with pytest.raises(ConfigError) as refused:
        config(**{variable: value})

    assert (variable, value) == (refused.value.variable, refused.value.value)


@for_each(
    "environ, healthy",
    [
        ({}, {*range(100, 500)}),
        ({"AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS": "400"}, {*range(100, 400)}),
        ({"AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "200"}, {200}),
        ({"AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "200-202,404"}, {200, 201, 202, 404}),
        ({"AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": " 204 , 301-302 ,"}, {204, 301, 302}),
        (
            {
                "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS": "503",
                "AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS": "nonsense",
            },
            {503},
        ),
    ],
)
def test_healthy_is_what_the_adapter_takes_for_healthy(environ, healthy):
    """Statuses and ranges, or everything below the first unhealthy one."""
    assert healthy == readiness(**environ).healthy


HEALTHY = "AWS_LWA_READINESS_CHECK_HEALTHY_STATUS"


@for_each("value", ["", ",", "2xx", "200-", "-200", "20", "2000", "1-2-3", "500-200", "٢٠٠", "200\n201"])
def test_statuses_that_make_no_sense_are_refused(value):
    """A list that holds no status, or something else, is refused in one line."""
    with pytest.raises(ConfigError) as refused:
        config(**{HEALTHY: value})

    assert (HEALTHY, value) == (refused.value.variable, refused.value.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("value", ["100", "1001", "", "abc"])
def test_a_first_unhealthy_status_out_of_range_is_refused(value):
    """With no status below it, an app could never be ready."""
    with pytest.raises(ConfigError, match="MIN_UNHEALTHY_STATUS"):
        config(AWS_LWA_READINESS_CHECK_MIN_UNHEALTHY_STATUS=value)


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("/before", True)])
def test_whether_the_adapter_posts_before_the_checkpoint_is_read(value, expected):
    """An empty path is none."""
    environ = {} if value is None else {"AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH": value}

    assert expected is config(**environ).posts_before_checkpoint


@pytest.mark.parametrize(("value", "expected"), [(None, False), ("", False), ("/after", True)])
def test_whether_the_adapter_posts_after_the_restore_is_read(value, expected):
    """An empty path is none."""
    environ = {} if value is None else {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": value}

    assert expected is config(**environ).posts_after_restore


@for_each(
    "value, expected",
    [
        *((value, None) for value in (None, "", "0", "0.0", "-1", "abc", "1e3", "٣")),
        *[("8", 8_000), ("8.5", 8_500), (".5", 500), ("61.", 61_000)],
    ],
)
def test_the_adapters_patience_is_a_positive_number_of_seconds(value, expected):
    """It ignores anything else, and then waits without end."""
    environ = {} if value is None else {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": value}

    assert expected == readiness_timeout_ms(value) == config(**environ).readiness_timeout_ms


HELD = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start", "AWS_LWA_READINESS_CHECK_PORT": "9555"}
AFTER_PATH = {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/after"}
PATIENCE = "AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS"


@for_each(
    "environ, words",
    [
        ({}, []),
        (AFTER_PATH, ["AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH is set"]),
        ({PATIENCE: "60.5"}, []),
        ({PATIENCE: "60.4"}, [f"{PATIENCE}=60.4 is shorter than the 60.5 s that the before-snapshot hooks may take"]),
        ({PATIENCE: "60.4", "SNAPEXT_SETTLE_MS": "400"}, []),
        ({PATIENCE: "9", "SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS": "1000"}, []),
        (
            {PATIENCE: "8.9", "SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS": "1000"},
            [f"{PATIENCE}=8.9 is shorter than the 9 s that the after-restore hooks may take"],
        ),
        (
            {PATIENCE: "5", **AFTER_PATH},
            ["register an after-restore hook instead", "SNAPEXT_AFTER_RESTORE_TIMEOUT_MS", "SNAPEXT_SETTLE_MS + "],
        ),
    ],
)
def test_what_works_against_the_hooks_is_a_warning(environ, words):
    """One line for each, which names the variable, and what to do."""
    found = warnings(config(**HELD, **environ), adapter_checks=True)

    assert len(words) == len(found)
    assert all(word in text for word, text in zip(words, found, strict=True))
    assert all(len(text.splitlines()) == 1 and "unset it" in text for text in found)


@pytest.mark.parametrize(
    ("environ", "adapter_checks"),
    [
        (HELD, False),
        ({**HELD, "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, True),
        ({**HELD, "AWS_LWA_READINESS_CHECK_PORT": "8080", "SNAPEXT_MODE": "explicit"}, True),
        ({**HELD, "AWS_LWA_READINESS_CHECK_PORT": "8080"}, True),
    ],
)
def test_what_is_read_by_nobody_is_no_warning(environ, adapter_checks):
    """An adapter before 1.1 knows neither setting; without a gate under SnapStart it holds nobody back."""
    assert warnings(config(**environ, **AFTER_PATH, **{PATIENCE: "1"}), adapter_checks=adapter_checks) == []


# --- the gate --------------------------------------------------------------------------------------------------------


@for_each(
    "environ, mode",
    [
        ({}, "auto"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555"}, "gate"),
        ({"READINESS_CHECK_PORT": "9555"}, "gate"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "8080", "READINESS_CHECK_PORT": "9555"}, "auto"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "7000", "SNAPEXT_PORT": "7000"}, "gate"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "SNAPEXT_PORT": "7000"}, "auto"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "SNAPEXT_MODE": "gate"}, "gate"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "AWS_LWA_READINESS_CHECK_PROTOCOL": "HTTP"}, "gate"),
        ({"AWS_LWA_READINESS_CHECK_PROTOCOL": "tcp"}, "auto"),
        ({"SNAPEXT_MODE": "explicit"}, "explicit"),
        ({"SNAPEXT_MODE": "explicit", "AWS_LWA_READINESS_CHECK_PORT": "8080"}, "explicit"),
    ],
)
def test_the_gate_is_ours_when_the_adapters_check_points_at_us(environ, mode):
    """Under either name of the variable, and on whichever port we are told to listen."""
    assert mode == config(**environ).mode


@for_each(
    "environ, variable, accepted",
    [
        ({"SNAPEXT_MODE": "gate"}, "AWS_LWA_READINESS_CHECK_PORT", "9555"),
        ({"SNAPEXT_MODE": "explicit", "READINESS_CHECK_PORT": "9555"}, "READINESS_CHECK_PORT", "the app's own port"),
        ({"SNAPEXT_MODE": "gate", "READINESS_CHECK_PORT": "1"}, "READINESS_CHECK_PORT", "9555"),
        ({"SNAPEXT_MODE": "gate", "SNAPEXT_PORT": "7000"}, "AWS_LWA_READINESS_CHECK_PORT", "7000"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "AWS_LWA_PORT": "9555"}, "AWS_LWA_PORT", "other"),
        ({"AWS_LWA_READINESS_CHECK_PORT": "9555", "PORT": "9555"}, "PORT", "other"),
        (
            {"AWS_LWA_READINESS_CHECK_PORT": "9555", "AWS_LWA_READINESS_CHECK_PROTOCOL": "tcp"},
            "AWS_LWA_READINESS_CHECK_PROTOCOL",
            "http",
        ),
        (
            {"AWS_LWA_READINESS_CHECK_PORT": "9555", "READINESS_CHECK_PROTOCOL": "TCP"},
            "READINESS_CHECK_PROTOCOL",
            "http",
        ),
    ],
)
def test_a_gate_that_cannot_work_is_refused(environ, variable, accepted):
    """When the check cannot be held, or is our own app's, the message names the variable to change and how."""
    with pytest.raises(ConfigError) as refused:
        config(**environ)

    assert variable == refused.value.variable
    assert accepted in refused.value.accepted
    assert len(str(refused.value).splitlines()) == 1


# --- signals ---------------------------------------------------------------------------------------------------------


@for_each(
    "environ, signals",
    [
        ({}, None),
        ({"SNAPEXT_SIGNALS": "0"}, None),
        ({"SNAPEXT_SIGNALS": "1"}, (signal.SIGRTMIN + 4, signal.SIGRTMIN + 5)),
        ({"SNAPEXT_SIGNALS": "RTMIN+4,RTMIN+5"}, (signal.SIGRTMIN + 4, signal.SIGRTMIN + 5)),
        ({"SNAPEXT_SIGNALS": "SIGRTMIN,sigrtmax"}, (signal.SIGRTMIN, signal.SIGRTMAX)),
        ({"SNAPEXT_SIGNALS": "RTMAX-1, RTMAX-0"}, (signal.SIGRTMAX - 1, signal.SIGRTMAX)),
        ({"SNAPEXT_SIGNALS": "USR1,USR2"}, (signal.SIGUSR1, signal.SIGUSR2)),
        ({"SNAPEXT_SIGNALS": "SIGUSR2,hup"}, (signal.SIGUSR2, signal.SIGHUP)),
        ({"SNAPEXT_TRANSPORT": "signal"}, (signal.SIGRTMIN + 4, signal.SIGRTMIN + 5)),
        ({"SNAPEXT_TRANSPORT": "signal", "SNAPEXT_SIGNALS": "HUP,USR2"}, (signal.SIGHUP, signal.SIGUSR2)),
        ({"SNAPEXT_TRANSPORT": "socket"}, None),
    ],
)
def test_the_signals_go_by_their_names(environ, signals):
    """With or without SIG, in either case; an app that is told by signal has them without asking."""
    assert signals == config(**environ).signals


@for_each(
    "value",
    [
        "nonsense", "", ",", "USR1", "USR1,USR1", "RTMIN+4,SIGRTMIN+4", "USR1,USR2,HUP", "KILL,USR1", "USR1,STOP",
        "TERM,INT", "CHLD,USR1", "2", "RTMIN+31,USR1", "RTMIN-1,USR1", "RTMAX+1,USR1", "RTMIN+,USR1", "RTMIN+²,URG",
        "true", "10,12",
    ],
)  # fmt: skip
def test_signals_that_are_none_or_may_not_be_taken_are_refused(value):
    """One line that names the variable, its value and what is accepted."""
    with pytest.raises(ConfigError) as refused:
        config(SNAPEXT_SIGNALS=value)

    assert refused.value.variable == "SNAPEXT_SIGNALS"
    assert "RTMIN+4,RTMIN+5" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_an_app_told_by_signal_cannot_do_without_signals():
    """The two variables contradict each other, and the message names both."""
    with pytest.raises(ConfigError, match="SNAPEXT_TRANSPORT=signal"):
        config(SNAPEXT_TRANSPORT="signal", SNAPEXT_SIGNALS="0")


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN, signal.SIGRTMIN + 5])
def test_a_signal_is_called_what_the_setting_calls_it(number):
    """The name of a signal in a message can be put into the setting as it is."""
    assert number == config(SNAPEXT_SIGNALS=f"{signal_names.name(number)},URG").signals[0]


@pytest.mark.parametrize("transport", ["socket", "signal"])
def test_no_process_is_missing_with_every_transport(transport):
    """0 workers: nobody is counted, and nobody is named."""
    assert config(SNAPEXT_TRANSPORT=transport, SNAPEXT_WORKERS="0").workers == 0


@pytest.mark.parametrize("value", ["1", "1000"])
def test_processes_that_are_told_by_signal_cannot_be_counted(value):
    """They are on no socket; the message says what is accepted instead."""
    with pytest.raises(
        ConfigError, match=r"SNAPEXT_WORKERS='1.*' is not accepted: only 0 with SNAPEXT_TRANSPORT=signal"
    ):
        config(SNAPEXT_TRANSPORT="signal", SNAPEXT_WORKERS=value)


def test_a_misspelt_setting_is_noticed():
    """What begins like a setting of ours and is none is listed; what is not ours is left alone."""
    environ = {**dict.fromkeys(KNOWN, "x"), "SNAPEXT_WORKER": "1", "SNAPEXT_": "", "PATH": "", "MY_SNAPEXT_PORT": ""}

    assert unknown_names(environ) == ["SNAPEXT_", "SNAPEXT_WORKER"]


def test_a_config_cannot_be_changed():
    """What was parsed once stays as it is."""
    with pytest.raises(AttributeError):
        config().port = 1
