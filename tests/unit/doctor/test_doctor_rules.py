"""Each rule of the doctor: the case that only it covers, the line it proposes, and the cases without a finding."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers import for_each
from snapext_tools.doctor.examine import RULES, examine, uses_snapext
from snapext_tools.doctor.findings import Severity
from snapext_tools.doctor.settings import VARIABLES, Bundled, Facts, Function, Opaque, Place, UnreadableError

GOOD = {"AWS_LWA_READINESS_CHECK_PORT": "9555", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap"}
FACTS = Facts(
    serverless=True,
    runtime="python3.12",
    snap_start="PublishedVersions",
    published=True,
    layers=("arn:aws:lambda:eu-west-1:1:layer:snapext:3",),
)
OURS = FACTS.layers[0]
LWA = "arn:aws:lambda:eu-west-1:753240598075:layer:LambdaAdapterLayerX86:25"


def function(facts=None, elsewhere="", **variables):
    """A clean function with the given settings. A variable that is None is removed."""
    merged = {name: value for name, value in {**GOOD, **variables}.items() if value is not None}
    places = {(*VARIABLES, name): Place("t.yaml", f"P.{name}", n) for n, name in enumerate(merged, 1)}
    return Function(
        *("App", "the template", merged, Place("t.yaml", "P", 1), "yaml"),
        replace(FACTS, **(facts or {})),
        elsewhere,
        places,
    )


def subjects(one):
    """The subjects of the rules that find something."""
    return [rule.subject for rule in RULES if examine_by(rule, one)]


def examine_by(rule, one):
    try:
        return list(rule.judge(one))
    except UnreadableError:
        return []


CASES = [
    ("the readiness port", "error", {"AWS_LWA_READINESS_CHECK_PORT": None}, {}, 'AWS_LWA_READINESS_CHECK_PORT: "9555"'),
    (
        "the readiness port",
        "error",
        {"AWS_LWA_READINESS_CHECK_PORT": "8080"},
        {},
        'AWS_LWA_READINESS_CHECK_PORT: "9555"',
    ),
    ("the readiness port", "error", {"SNAPEXT_PORT": "7000"}, {}, 'AWS_LWA_READINESS_CHECK_PORT: "7000"'),
    (
        "the readiness port",
        "error",
        {"AWS_LWA_READINESS_CHECK_PORT": None, "READINESS_CHECK_PORT": "1", "SNAPEXT_MODE": "gate"},
        {},
        'READINESS_CHECK_PORT: "9555"',
    ),
    ("the readiness port", "error", {"SNAPEXT_MODE": "explicit"}, {}, 'AWS_LWA_READINESS_CHECK_PORT: "9555"'),
    (
        "the readiness protocol",
        "error",
        {"AWS_LWA_READINESS_CHECK_PROTOCOL": "TCP"},
        {},
        "AWS_LWA_READINESS_CHECK_PROTOCOL: http",
    ),
    ("the readiness protocol", "error", {"READINESS_CHECK_PROTOCOL": "tcp"}, {}, "READINESS_CHECK_PROTOCOL: http"),
    ("asynchronous init", "error", {"AWS_LWA_ASYNC_INIT": "true"}, {}, 'AWS_LWA_ASYNC_INIT: "false"'),
    ("asynchronous init", "error", {"ASYNC_INIT": "true"}, {}, 'ASYNC_INIT: "false"'),
    *(
        (
            "the exec wrapper",
            "error",
            {"AWS_LAMBDA_EXEC_WRAPPER": value},
            {},
            "AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap",
        )
        for value in (None, "/opt/bootstrap", "/opt/other")
    ),
    ("SnapStart", "error", {}, {"snap_start": None}, "ApplyOn: PublishedVersions"),
    ("SnapStart", "error", {}, {"snap_start": "None"}, "ApplyOn: PublishedVersions"),
    ("published versions", "error", {}, {"published": False}, "AutoPublishAlias: live"),
    (
        "published versions",
        "error",
        {},
        {"published": False, "serverless": False},
        "AppVersion: {Type: AWS::Lambda::Version, Properties: {FunctionName: !Ref App}}",
    ),
    ("the runtime", "error", {}, {"runtime": "python3.11"}, "Runtime: python3.12"),
    ("the runtime", "error", {}, {"runtime": "python3.9"}, "Runtime: python3.12"),
    (
        "the package",
        "warning",
        {},
        {"package": Bundled(Place("app/requirements.txt", "", 3), "snapshot-restore-py==1.0.0")},
        "snapshot-restore-py==1.0.0",
    ),
    *(
        ("the web adapter's hook paths", "warning", {name: "/hook"}, {}, f"{name}: /hook")
        for name in ("AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH", "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH")
    ),
    *(
        (
            "the readiness timeout",
            "error",
            {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": seconds, **budgets},
            {},
            f'AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS: "{seconds}"',
        )
        for seconds, budgets in (
            ("8.5", {}),
            ("10", {}),
            ("60", {}),
            ("9", {"SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS": "8000", "SNAPEXT_SETTLE_MS": "1001"}),
            ("5", {"SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS": "1000"}),
            (".5", {"SNAPEXT_BEFORE_SNAPSHOT_TIMEOUT_MS": "501", "SNAPEXT_AFTER_RESTORE_TIMEOUT_MS": "500"}),
        )
    ),
    *(
        (
            "the caller of restore/next",
            "warning",
            {"SNAPEXT_RESTORE_CALLER": value},
            {"layers": (OURS, layer)},
            f"SNAPEXT_RESTORE_CALLER: {value}",
        )
        for value in ("extension", "adapter")
        for layer in (LWA, Opaque("!Ref LwaAdapter", "LwaAdapter"), Opaque("!Ref Tools", "Tools"))
    ),
    (
        "the caller of restore/next",
        "warning",
        {"SNAPEXT_RESTORE_CALLER": "adapter"},
        {},
        "SNAPEXT_RESTORE_CALLER: adapter",
    ),
    (
        "the caller of restore/next",
        "warning",
        {"SNAPEXT_RESTORE_CALLER": "adapter", "SNAPEXT_MODE": "explicit", "AWS_LWA_READINESS_CHECK_PORT": None},
        {},
        "SNAPEXT_RESTORE_CALLER: adapter",
    ),
    (
        "a checkpoint beside the web adapter",
        "warning",
        {"SNAPEXT_MODE": "explicit", "AWS_LWA_READINESS_CHECK_PORT": None},
        {"layers": (OURS, LWA)},
        "SNAPEXT_MODE: explicit",
    ),
    ("the app's port", "error", {"AWS_LWA_PORT": "9555"}, {}, 'AWS_LWA_PORT: "8080"'),
    ("the app's port", "error", {"PORT": "9555"}, {}, 'PORT: "8080"'),
    *(
        ("snapext's settings", "error", {name: value}, {}, f"{name}: {written}")
        for name, value, written in (
            ("SNAPEXT_PORT", "web", "web"),
            ("SNAPEXT_WORKERS", "four", "four"),
            ("SNAPEXT_AFTER_RESTORE_TIMEOUT_MS", "10001", '"10001"'),
            ("SNAPEXT_MODE", "signal", "signal"),
            ("SNAPEXT_LOG_LEVEL", "loud", "loud"),
            ("SNAPEXT_RESEED", "yes", '"yes"'),
            ("SNAPEXT_SOCKET", "here", "here"),
            ("AWS_LWA_PORT", "web", "web"),
        )
    ),
    ("snapext's settings", "error", {"SNAPEXT_SIGNALS": "nonsense"}, {}, "SNAPEXT_SIGNALS: nonsense"),
    *(
        ("the signals", "warning", {"SNAPEXT_SIGNALS": value}, {}, 'SNAPEXT_SIGNALS: "1"')
        for value in ("USR2,RTMIN+5", "RTMIN+4,sigusr1", "URG, HUP", "WINCH,URG")
    ),
    ("the names of snapext's settings", "warning", {"SNAPEXT_WORKER": "4"}, {}, 'SNAPEXT_WORKERS: "4"'),
    ("the names of snapext's settings", "warning", {"SNAPEXT_XYZZY": "4"}, {}, 'SNAPEXT_XYZZY: "4"'),
    ("the layer", "warning", {}, {"layers": ()}, "- <the ARN of your snapext layer version>"),
]


@for_each("subject, severity, variables, facts, line", CASES)
def test_each_rule_is_triggered_alone_and_says_what_to_write(subject, severity, variables, facts, line):
    """One thing is wrong, one rule finds it, with its severity, its harm, and the line."""
    one = function(facts, **variables)

    assert [subject] == subjects(one)
    (finding,) = examine(one).findings
    assert (severity, line) == (finding.severity, finding.change.line)
    assert finding.wrong
    assert finding.harm


def test_every_rule_has_a_case():
    """A rule that nothing triggers would not be missed."""
    assert {rule.subject for rule in RULES} == {case[0] for case in CASES}


@for_each(
    "variables, facts",
    [
        ({}, {}),
        ({"AWS_LWA_READINESS_CHECK_PORT": "7000", "SNAPEXT_PORT": "7000", "SNAPEXT_MODE": "gate"}, {}),
        ({"AWS_LWA_READINESS_CHECK_PORT": None, "READINESS_CHECK_PORT": "9555"}, {}),
        (
            {
                "READINESS_CHECK_PORT": "1",
                "READINESS_CHECK_PROTOCOL": "tcp",
                "AWS_LWA_READINESS_CHECK_PROTOCOL": "http",
            },
            {},
        ),
        ({"AWS_LWA_READINESS_CHECK_PORT": None, "SNAPEXT_MODE": "explicit", "SNAPEXT_SIGNALS": "1"}, {}),
        ({"AWS_LWA_READINESS_CHECK_PORT": "8080", "SNAPEXT_MODE": "explicit", "READINESS_CHECK_PROTOCOL": "tcp"}, {}),
        ({"SNAPEXT_SIGNALS": "RTMIN+4,RTMIN+5"}, {}),
        ({"SNAPEXT_WORKERS": "0", "SNAPEXT_TRANSPORT": "signal"}, {"layers": (OURS, LWA)}),
        ({"AWS_LWA_ASYNC_INIT": "false", "AWS_LWA_PORT": "8000", "PORT": "9555"}, {}),
        ({"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": ""}, {}),
        *(({"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": value}, {}) for value in ("60.5", "0", "-1", "soon", "1_0", "")),
        ({}, {"runtime": "python3.13"}),
        ({}, {"runtime": "provided.al2023"}),
        ({"AWS_LAMBDA_EXEC_WRAPPER": None}, {"runtime": "provided.al2023"}),
        ({"AWS_LAMBDA_EXEC_WRAPPER": None}, {"image": True, "runtime": None, "layers": ()}),
        ({}, {"layers": (Opaque("!Ref Tools", "Tools"), Opaque("!Ref SnapextLayer", "SnapextLayer"))}),
    ],
)
def test_what_is_right_triggers_nothing(variables, facts):
    """Every accepted way to write a setting, and functions that a rule does not apply to."""
    assert examine(function(facts, **variables)).findings == ()


def test_errors_come_first_and_each_in_the_order_of_harm():
    """The order of the rules, with the warnings behind the errors."""
    found = examine(
        function(
            {"snap_start": None, "layers": ()},
            AWS_LWA_READINESS_CHECK_PORT=None,
            AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/x",
            SNAPEXT_WORKERS="x",
        )
    ).findings

    assert [finding.severity is Severity.WARNING for finding in found] == [0, 0, 0, 1, 1]
    assert "READINESS_CHECK_PORT" in found[0].wrong
    assert "SnapStart" in found[1].wrong
    assert "AFTER_RESTORE_PATH" in found[3].wrong


@pytest.mark.parametrize(
    ("variables", "facts", "wrong", "harm"),
    [
        ({"SNAPEXT_RESTORE_CALLER": "adapter"}, {"layers": (OURS, LWA)}, f"beside {LWA}", "from 1.1.0 on"),
        ({"SNAPEXT_RESTORE_CALLER": "extension"}, {"layers": (OURS, LWA)}, f"beside {LWA}", "refused (403)"),
        ({"SNAPEXT_RESTORE_CALLER": "adapter"}, {}, "no layer has the web adapter's name", "no after-restore hook"),
        (
            {"SNAPEXT_RESTORE_CALLER": "adapter"},
            {"image": True},
            "SNAPEXT_RESTORE_CALLER is 'adapter'",
            "release notes",
        ),
        (
            {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": "/x"},
            {},
            "AFTER_RESTORE_PATH",
            "before snapext's after-restore hooks",
        ),
    ],
)
def test_what_contradicts_the_adapter_says_what_to_check(variables, facts, wrong, harm):
    """A layer's number does not give the release, so the line says on what it depends."""
    (finding,) = examine(function(facts, **variables)).findings

    assert wrong in finding.wrong
    assert harm in finding.harm


def test_every_refused_setting_is_named():
    """Not only the first that the extension would refuse."""
    found = examine(function(SNAPEXT_WORKERS="x", SNAPEXT_LOG_LEVEL="x", SNAPEXT_SETTLE_MS="-")).findings

    assert {"SNAPEXT_WORKERS", "SNAPEXT_LOG_LEVEL", "SNAPEXT_SETTLE_MS"} == {f.wrong.partition("=")[0] for f in found}


@for_each(
    "subject, variables, facts",
    [
        ("the readiness port", {"AWS_LWA_READINESS_CHECK_PORT": Opaque("!Ref Port")}, {}),
        ("the readiness protocol", {"AWS_LWA_READINESS_CHECK_PROTOCOL": Opaque("!Ref P")}, {}),
        ("asynchronous init", {"AWS_LWA_ASYNC_INIT": Opaque("!Ref P")}, {}),
        ("the exec wrapper", {"AWS_LAMBDA_EXEC_WRAPPER": Opaque("!Sub")}, {}),
        ("SnapStart", {}, {"snap_start": Opaque("!If")}),
        ("published versions", {}, {"published": Opaque("!If")}),
        ("the runtime", {}, {"runtime": Opaque("!Ref Runtime")}),
        ("the web adapter's hook paths", {"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": Opaque("!Ref P")}, {}),
        ("the readiness timeout", {"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": Opaque("!Ref P")}, {}),
        ("the app's port", {"PORT": Opaque("!Ref P")}, {}),
        ("snapext's settings", {"SNAPEXT_WORKERS": Opaque("!Ref P")}, {}),
        ("the layer", {}, {"layers": (Opaque("!Ref Layer", "Layer"),)}),
    ],
)
def test_a_value_that_only_the_deployment_knows_is_not_judged(subject, variables, facts):
    """The rule does not guess, and gives the reason."""
    diagnosis = examine(function(facts, **variables))

    assert diagnosis.findings == ()
    assert [subject] == [subject for subject, _ in diagnosis.not_judged]
    assert "the template does not give its value" in diagnosis.not_judged[0][1]


def test_a_variable_that_may_be_set_in_the_image_is_not_said_to_be_missing():
    """An image has its own environment; the template's settings are still judged."""
    image = {"image": True, "runtime": None, "layers": (), "package": "in an image"}
    diagnosis = examine(
        function(image, "may be in the image", AWS_LWA_READINESS_CHECK_PORT=None, AWS_LWA_ASYNC_INIT="true")
    )

    assert [finding.wrong for finding in diagnosis.findings] == ["AWS_LWA_ASYNC_INIT is 'true'"]
    assert {"the readiness port", "the exec wrapper", "the package"} <= {subject for subject, _ in diagnosis.not_judged}


@for_each(
    "variables, layers, expected",
    [
        ({}, (), False),
        ({"AWS_LWA_PORT": "1", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap"}, ("arn:tools",), False),
        ({"SNAPEXT_PORT": "9555"}, (), True),
        ({"AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap"}, (), True),
        ({}, ("arn:layer:Snapext:1",), True),
        ({}, (Opaque("!Ref SnapextLayer", "SnapextLayer"),), True),
    ],
)
def test_a_function_uses_snapext_by_its_layer_a_variable_or_the_wrapper(variables, layers, expected):
    """Each of them is a sign, and nothing else is."""
    bare = replace(function(), variables=variables, facts=replace(FACTS, layers=layers))

    assert expected is uses_snapext(bare)
