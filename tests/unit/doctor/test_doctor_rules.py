"""Each rule of the doctor: the case that only it covers, the line it proposes, and the cases without a finding."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import for_each
from snapext_tools.doctor.examine import ALWAYS, ATTACHED, BEFORE, RULES, examine, uses_snapext
from snapext_tools.doctor.findings import Severity
from snapext_tools.doctor.settings import (
    VARIABLES,
    Bundled,
    Facts,
    Function,
    ImageFile,
    Opaque,
    Place,
    Script,
    Start,
    UnreadableError,
)

GOOD = {"AWS_LWA_READINESS_CHECK_PORT": "9555", "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap"}
OURS = "arn:aws:lambda:eu-west-1:1:layer:snapext:3"
LWA = "arn:aws:lambda:eu-west-1:753240598075:layer:LambdaAdapterLayerX86:25"
ARM = LWA.replace("X86", "Arm64")
RUN = Place("app/run.sh")
FACTS = Facts(
    serverless=True,
    runtime="python3.12",
    snap_start="PublishedVersions",
    published=True,
    layers=(OURS, LWA),
    handler="run.sh",
    script=Script("run.sh", RUN, text="#!/bin/sh\n"),
)
IMAGE = {"image": True, "runtime": None, "handler": None, "script": None, "layers": (), "package": None}


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
    return [rule.subject for rule in RULES if rule.applies != BEFORE and examine_by(rule, one)]


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
    (
        "the readiness port",
        "error",
        {"SNAPEXT_MODE": "explicit"},
        {"layers": (OURS,)},
        'AWS_LWA_READINESS_CHECK_PORT: "9555"',
    ),
    ("the readiness port", "error", {"SNAPEXT_MODE": "observe"}, {}, 'AWS_LWA_READINESS_CHECK_PORT: "9555"'),
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
        {"SNAPEXT_RESTORE_CALLER": "adapter", "SNAPEXT_MODE": "explicit", "AWS_LWA_READINESS_CHECK_PORT": None},
        {"layers": (OURS,)},
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
    *(
        ("the layer", severity, {}, {"layers": layers}, "- <the ARN of your snapext layer version>")
        for severity, layers in (
            ("error", (LWA,)),
            ("error", (Opaque("!Sub", "arn:aws:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerX86:25"),)),
            ("error", (Opaque("!Join", ": arn aws lambda AWS::Region :1:layer:LambdaAdapterLayerX86:25"),)),
            ("warning", (LWA, "arn:aws:lambda:eu-west-1:1:layer:tools:1")),
            ("warning", (LWA, Opaque("!Sub", "arn:aws:lambda:${AWS::Region}:1:layer:tools:1"))),
        )
    ),
]

OF_THE_CODE = [
    ("runtime-without-snapstart", {}, {"runtime": "provided.al2023"}, "PackageType: Image"),
    ("runtime-without-snapstart", {}, {"runtime": "nodejs22.x"}, "PackageType: Image"),
    ("runtime-without-snapstart", {}, {"runtime": "java8.al2"}, "PackageType: Image"),
    ("no-python", {}, {"runtime": "java21"}, "PackageType: Image"),
    ("no-python", {}, {"runtime": "dotnet8"}, "PackageType: Image"),
    ("file-system", {}, {"file_system": "FileSystemConfigs"}, "FileSystemConfigs"),
    ("ephemeral-storage", {}, {"ephemeral_mb": "513"}, 'Size: "512"'),
    ("provisioned-concurrency", {}, {"provisioned": "Resources.A.Properties.P"}, "Resources.A.Properties.P"),
    ("native-handler", {}, {"handler": "app.handler", "script": None}, "Handler: run.sh"),
    ("handler-missing", {}, {"script": Script("run.sh", RUN, exists=False)}, "run.sh"),
    ("handler-not-executable", {}, {"script": replace(FACTS.script, executable=False)}, "chmod +x run.sh"),
    ("handler-line-ends", {}, {"script": replace(FACTS.script, text="#!/bin/sh\r\n")}, "sed -i 's/\\r$//' run.sh"),
    ("handler-shebang", {}, {"script": replace(FACTS.script, text="exec x\n")}, "#!/bin/sh"),
    ("handler-shebang", {}, {"script": replace(FACTS.script, text="\ufeff#!/bin/sh\n")}, "#!/bin/sh"),
    ("adapter-processor", {}, {"layers": (OURS, ARM)}, f"{LWA} (the number of its version differs)"),
    ("adapter-processor", {}, {"architecture": "arm64"}, f"{ARM} (the number of its version differs)"),
    ("no-adapter", {}, {"layers": (OURS,)}, "- <the ARN of the version of LambdaAdapterLayerX86 that you want>"),
    (
        "no-adapter",
        {},
        {"layers": (OURS, "arn:aws:lambda:x:1:layer:tools:1"), "architecture": "arm64"},
        "- <the ARN of the version of LambdaAdapterLayerArm64 that you want>",
    ),
    (
        "image-without-snapext",
        {},
        {**IMAGE, "image_file": ImageFile(RUN, adapter="a:1.1.0")},
        "RUN pip install --no-cache-dir lambda-snapext && snapext layer install / --precompile python3\nLABEL com.",
    ),
    *(
        (
            "old-adapter",
            {},
            {
                **IMAGE,
                "image_file": ImageFile(RUN, adapter=f"x:5000/aws-lambda-adapter:{old}", overlay=True, linked=True),
            },
            "COPY --from=public.ecr.aws/awsguru/aws-lambda-adapter:0.9.1 /lambda-adapter /opt/",
        )
        for old in ("0.6.2", "v0.6.4-x86_64")
    ),
    *(
        (
            "old-adapter",
            {},
            {"layers": (OURS, layer)},
            "<the ARN of the version of LambdaAdapterLayerX86 that has 0.9.1",
        )
        for layer in (LWA.replace(":25", ":13"), Opaque("!Sub " + LWA[:-2] + "15", LWA[:-2] + "15"))
    ),
    *(
        ("no-python", {}, {**IMAGE, "image_file": ImageFile(RUN, base=base, adapter="x:1.1.0", overlay=True)}, line)
        for base, line in (
            ("python:3.8.18-slim@sha256:00", "FROM python:3.12-slim"),
            ("public.ecr.aws/lambda/python:3.10", "FROM public.ecr.aws/lambda/python:3.12"),
        )
    ),
    ("foreign-snapext", {}, {"foreign": Bundled(Place("app/requirements.txt", "", 3), "snapext")}, "lambda-snapext"),
    ("mode-off", {"SNAPEXT_MODE": "off"}, {}, 'SNAPEXT_MODE: "off"'),
    ("image-not-linked", {}, {**IMAGE, "image_file": ImageFile(RUN, adapter="", overlay=True)}, "ENV PYTHONPATH=/opt/"),
    (
        "no-adapter",
        {},
        {**IMAGE, "image_file": ImageFile(RUN, overlay=True, linked=True)},
        "COPY --from=public.ecr.aws/",
    ),
    (
        "adapter-processor",
        {},
        {**IMAGE, "image_file": ImageFile(RUN, adapter="x/adapter:1.1.0-aarch64", overlay=True, linked=True)},
        "x/adapter:1.1.0",
    ),
]


def starting(**start):
    """A script that starts gunicorn so."""
    return {"script": replace(FACTS.script, start=Start("gunicorn", Place("app/run.sh", "", 3), **start))}


OF_THE_CODE += [
    ("unlinked-start", {}, starting(unlinked="python -I"), "PYTHONPATH=...:$PYTHONPATH, and python without -I, -S"),
    ("unlinked-start", {}, starting(replaces="PYTHONPATH=x", venv=True), "PYTHONPATH=...:$PYTHONPATH, and python"),
    ("replaced-pythonpath", {}, starting(replaces="PYTHONPATH=x"), "PYTHONPATH=x:$PYTHONPATH"),
    ("app-port", {}, starting(port=8000), 'AWS_LWA_PORT: "8000"'),
    ("app-port", {"PORT": "3000"}, starting(port=8000), 'PORT: "8000"'),
    ("fewer-workers-than-set", {"SNAPEXT_WORKERS": "4"}, starting(workers=2), 'SNAPEXT_WORKERS: "2"'),
    ("more-workers-than-set", {"SNAPEXT_WORKERS": "2"}, starting(workers=4), 'SNAPEXT_WORKERS: "4"'),
]


@for_each("rule, variables, facts, line", OF_THE_CODE)
def test_each_rule_of_the_platform_and_the_code_finds_its_case(rule, variables, facts, line):
    """With its own severity, its harm, and the line; what else such a function has wrong is not hidden."""
    found = [finding for finding in examine(function(facts, **variables)).findings if finding.rule == rule]

    assert len(found) == 1
    assert found[0].change.line.startswith(line)
    assert found[0].harm


@for_each(
    "variables, facts, found",
    [
        ({"SNAPEXT_WORKERS": "x", "SNAPEXT_RESTORE_CALLER": "adapter", "SNAPEXT_SIGNALS": "USR1,USR2"}, {}, []),
        ({"AWS_LWA_READINESS_CHECK_PORT": None, "AWS_LWA_READINESS_CHECK_PROTOCOL": "tcp"}, {"snap_start": None}, []),
        ({"SNAPEXT_MODE": "false"}, {"package": Bundled(RUN, "snapshot-restore-py")}, []),
        ({}, {"runtime": "java21"}, ["no-python"]),
        ({}, {"handler": "app.handler", "script": None}, ["native-handler"]),
        ({}, {"layers": (LWA,)}, ["layer-missing"]),
        ({}, {"layers": (LWA, "arn:aws:lambda:eu-west-1:1:layer:tools:1")}, ["no-layer"]),
        (
            {},
            {**IMAGE, "image_file": ImageFile(RUN, adapter="x:1.0.0", overlay=True, linked=True)},
            ["image-without-label"],
        ),
    ],
)
def test_of_a_function_with_mode_off_it_says_that_and_what_matters_all_the_same(variables, facts, found):
    """The extension runs and asks the app; no setting of the hooks counts, and no image has us ask for restore/next."""
    diagnosis = examine(function(facts, **{"SNAPEXT_MODE": "off", **variables}))

    assert sorted(finding.rule for finding in diagnosis.findings) == sorted([*found, "mode-off"])


@for_each(
    "facts",
    [
        {"architecture": "arm64", "layers": (OURS, ARM)},
        {"ephemeral_mb": "512"},
        {"handler": "run.sh", **starting(workers=1, port=8080)},
        {**IMAGE, "image_file": ImageFile(RUN, adapter="x:1.1.0", overlay=True, linked=True)},
        {**IMAGE, "image_file": ImageFile(RUN, adapter="x:1-x86_64", overlay=True, linked=True)},
        {**IMAGE, "image_file": ImageFile(RUN, adapter="x:0.7.0", base="python:3.11", overlay=True, linked=True)},
        {**IMAGE, "image_file": ImageFile(RUN, adapter="x:0.7.0", base="a/cpython:3.1", overlay=True, linked=True)},
        {"layers": (OURS, LWA.replace(":25", ":16"))},
    ],
)
def test_what_is_right_in_the_code_triggers_nothing(facts):
    """The other processor's adapter where it belongs, the largest /tmp, and a server on the default port."""
    assert examine(function(facts)).findings == ()


@for_each(
    "facts",
    [
        {"file_system": "FileSystemConfigs", "snap_start": None},
        {"ephemeral_mb": "1024", "snap_start": None},
        {"provisioned": "P", "snap_start": None},
        {"runtime": "nodejs22.x", "snap_start": None},
    ],
)
def test_a_limit_of_snapstart_is_no_error_where_nobody_asks_for_it(facts):
    """Neither is on, nor is snapext attached: the function is right as it is."""
    bare = replace(function(facts), variables={}, facts=replace(FACTS, layers=(LWA,), **facts))
    diagnosis = examine(bare, attached=False)

    assert [finding.severity for finding in diagnosis.findings] == [Severity.NOTE]


def test_an_old_adapter_that_is_not_asked_to_read_the_new_name_is_no_error():
    """It reads the old name; and in a mode without a gate nobody is asked."""
    old = {**IMAGE, "image_file": ImageFile(RUN, adapter="x:0.6.2", overlay=True, linked=True)}
    for variables in (
        {"READINESS_CHECK_PORT": "9555"},
        {"SNAPEXT_MODE": "explicit", "AWS_LWA_READINESS_CHECK_PORT": "8080"},
        {"AWS_LWA_READINESS_CHECK_PORT": "8080"},
    ):
        assert "old-adapter" not in {one.rule for one in examine(function(old, **variables)).findings}


@for_each(
    "facts, reason",
    [
        (
            {**IMAGE, "image_file": ImageFile(RUN, adapter="x/adapter:latest", overlay=True, linked=True)},
            "x/adapter:latest",
        ),
        ({**IMAGE, "image_file": ImageFile(RUN, adapter="", overlay=True, linked=True)}, "the copied file"),
        ({"layers": (OURS, LWA.replace("753240598075", "041581134020"))}, "the account 041581134020 counts"),
    ],
)
def test_a_release_that_nothing_names_is_not_judged(facts, reason):
    """Another account numbers its copies of the adapter's layer by itself."""
    diagnosis = examine(function(facts))

    assert diagnosis.findings == ()
    assert reason in dict(diagnosis.not_judged)["the web adapter's release"]


def test_another_wrapper_can_be_kept():
    """Lambda starts one wrapper only: the report says how the other is started, too."""
    (other,) = examine(function(AWS_LAMBDA_EXEC_WRAPPER="/opt/otel-instrument")).findings
    (own,) = examine(function(AWS_LAMBDA_EXEC_WRAPPER="/var/task/start.sh")).findings

    assert "exec /opt/otel-instrument gunicorn" in other.harm
    assert "let start.sh be the handler" in own.harm


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
    """A rule that nothing triggers would not be missed; those of functions without snapext have theirs elsewhere."""
    by_subject = {rule.id for rule in RULES if rule.subject in {case[0] for case in CASES}}

    of_files = {"nothing-to-run"}
    cases = by_subject | {case[0] for case in OF_THE_CODE} | of_files
    assert {rule.id for rule in RULES if rule.applies != BEFORE} <= cases


@pytest.mark.parametrize("is_zip", [False, True])
def test_code_without_a_hook_is_named(tmp_path, is_zip):
    """Unless integrations are asked for, one file imports a hook module, or none is Python's."""
    app = tmp_path / "app"
    app.mkdir()

    def found(**variables):
        folder = app if not is_zip else Path(shutil.make_archive(str(tmp_path / "app"), "zip", app))
        return [one.wrong for one in examine(function({"code_folder": folder}, **variables)).findings]

    assert found() == []
    (app / "app.py").write_text("import redis\n")
    (app / "main.py").write_text("# import snapext\n")
    (wrong,) = found()
    assert re.match(r"no Python file in \S+ \(2 read\) imports snapext", wrong)
    assert found(SNAPEXT_INTEGRATIONS="auto") == []
    assert found(SNAPEXT_INTEGRATIONS="none") == [wrong]
    (app / "main.py").write_text("def run():\n    from snapext import register_after_restore\n")
    assert found() == []


def test_code_that_cannot_be_read_is_not_judged():
    """The reason is the one of the package."""
    diagnosis = examine(function({"package": "the code is not a folder or a zip on this machine"}))
    assert ("hooks in the app's code", "the code is not a folder or a zip on this machine") in diagnosis.not_judged


def test_a_misspelt_library_is_named():
    """With the one that may be meant; one that is like none is left out."""
    (finding,) = examine(function(SNAPEXT_INTEGRATIONS="sqlalchmy,redis,nosuch")).findings
    assert finding.wrong == "SNAPEXT_INTEGRATIONS names 'sqlalchmy' (do you mean 'sqlalchemy'?), 'nosuch'"
    assert finding.change.line == 'SNAPEXT_INTEGRATIONS: "sqlalchemy,redis"'


def test_ids_and_numbers_are_never_shared():
    """People name them to leave a rule out, and cfn-lint finds a rule by its number."""
    assert len({rule.id for rule in RULES}) == len({rule.number for rule in RULES}) == len(RULES)


@for_each("variables, facts", [case[1:3] for case in OF_THE_CODE])
def test_a_rule_finds_with_its_own_severity_alone(variables, facts):
    """cfn-lint and SARIF know the severity of a rule, not of a finding."""
    severities = {rule.id: rule.severity for rule in RULES}

    for finding in examine(function(facts, **variables)).findings:
        assert finding.severity is severities[finding.rule]


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
        (
            {"AWS_LWA_READINESS_CHECK_PORT": None, "SNAPEXT_MODE": "explicit", "SNAPEXT_SIGNALS": "1"},
            {"layers": (OURS,)},
        ),
        (
            {"AWS_LWA_READINESS_CHECK_PORT": "8080", "SNAPEXT_MODE": "explicit", "READINESS_CHECK_PROTOCOL": "tcp"},
            {"layers": (OURS,)},
        ),
        ({"AWS_LWA_READINESS_CHECK_PORT": None, "SNAPEXT_MODE": "observe", "READINESS_CHECK_PROTOCOL": "tcp"}, {}),
        ({"SNAPEXT_SIGNALS": "RTMIN+4,RTMIN+5"}, {}),
        ({"SNAPEXT_WORKERS": "0", "SNAPEXT_TRANSPORT": "signal"}, {"layers": (OURS, LWA)}),
        ({"AWS_LWA_ASYNC_INIT": "false", "AWS_LWA_PORT": "8000", "PORT": "9555"}, {}),
        ({"AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH": ""}, {}),
        *(({"AWS_LWA_READINESS_CHECK_TIMEOUT_SECONDS": value}, {}) for value in ("60.5", "0", "-1", "soon", "1_0", "")),
        ({}, {"runtime": "python3.13"}),
        ({"AWS_LAMBDA_EXEC_WRAPPER": None}, {**IMAGE, "image_file": "it is elsewhere"}),
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
            {"snap_start": None, "layers": (LWA,)},
            AWS_LWA_READINESS_CHECK_PORT=None,
            AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH="/x",
            SNAPEXT_WORKERS="x",
        )
    ).findings

    assert [finding.severity is Severity.WARNING for finding in found] == [0, 0, 0, 0, 1]
    assert "READINESS_CHECK_PORT" in found[0].wrong
    assert "SnapStart" in found[1].wrong
    assert "AFTER_RESTORE_PATH" in found[4].wrong


@for_each(
    "variables, facts, wrong, harm",
    [
        ({"AWS_LWA_READINESS_CHECK_PORT": None}, {}, "is not set", "can only observe the restore"),
        (
            {"AWS_LWA_READINESS_CHECK_PORT": None, "SNAPEXT_MODE": "gate"},
            {},
            "is not set",
            "init fails, because SNAPEXT_MODE=gate",
        ),
        ({"SNAPEXT_MODE": "observe"}, {}, "SNAPEXT_MODE is 'observe'", "init fails"),
        ({"SNAPEXT_RESTORE_CALLER": "adapter"}, {"layers": (OURS, LWA)}, f"beside {LWA}", "from 1.1.0 on"),
        ({"SNAPEXT_RESTORE_CALLER": "extension"}, {"layers": (OURS, LWA)}, f"beside {LWA}", "refused (403)"),
        (
            {"SNAPEXT_RESTORE_CALLER": "adapter"},
            {"layers": (OURS, "arn:aws:lambda:x:1:layer:tools:1")},
            "no layer has the web adapter's name",
            "no after-restore hook",
        ),
        (
            {"SNAPEXT_RESTORE_CALLER": "adapter"},
            {**IMAGE, "image_file": "it is elsewhere"},
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
    """What happens depends on the mode, and on the adapter's release, which a layer's number does not give."""
    findings = examine(function(facts, **variables)).findings
    rules = ("readiness-port", "restore-caller", "adapter-hook-paths")
    (finding,) = [finding for finding in findings if finding.rule in rules]

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
        ("the layer", {}, {"layers": (LWA, Opaque("!Ref Layer", "Layer"))}),
        ("the layer", {}, {"layers": (LWA, Opaque("!Sub", "arn:aws:lambda:x:1:layer:tools-${Stage}:1"))}),
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
    image = {**IMAGE, "package": "in an image", "image_file": "the template names no Dockerfile"}
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


def test_every_rule_stands_in_the_docs():
    """With its id, its number, and to which functions it applies."""
    letters = {Severity.ERROR: "E", Severity.WARNING: "W", Severity.NOTE: "I"}
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| ([EWI]\d{4}) \| (\w*) ?\|", text, re.MULTILINE)

    applies = {ATTACHED: "", BEFORE: "before", ALWAYS: "always"}
    assert sorted(rows) == sorted(
        (rule.id, f"{letters[rule.severity]}{rule.number}", applies[rule.applies]) for rule in RULES
    )


@for_each(
    "image, found",
    [
        (ImageFile(RUN, adapter="x:0.9.1"), {"image-without-label", "hooks-are-lost"}),
        (ImageFile(RUN, adapter="x:1.0.0-rc1"), {"image-without-label", "hooks-are-lost"}),
        (ImageFile(RUN, adapter="x:0.9.1", labelled=True), {"hooks-are-lost"}),
        (ImageFile(RUN, adapter="x:0.9.1", trusted=False), {"hooks-are-lost"}),
        (ImageFile(RUN, adapter="x:1.1.0"), {"hooks-are-lost"}),
        (ImageFile(RUN, adapter="x:latest"), {"hooks-are-lost"}),
        (ImageFile(RUN), {"hooks-are-lost"}),
    ],
)
def test_an_image_that_lambda_does_not_publish_is_an_error_only_where_that_is_known(image, found):
    """By the adapter's release, without the label, on a base that has neither."""
    bare = replace(function(), variables={}, facts=replace(FACTS, **{**IMAGE, "image_file": image}))

    assert {finding.rule for finding in examine(bare, attached=False).findings} == found


@for_each(
    "start, paths, said",
    [
        ({"workers": 4}, (), "one process of 4, as app/run.sh:3 starts gunicorn"),
        ({"workers": 1}, (), "would be enough"),
        ({"workers": 1}, ("AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH",), "its routes for that are enough"),
        ({"workers": None}, (), "one POST reaches one process"),
    ],
)
def test_what_is_lost_depends_on_how_many_processes_there_are(start, paths, said):
    """One POST of the adapter reaches one process: that is enough where there is one."""
    variables = dict.fromkeys(paths, "/x")
    bare = replace(function(), variables=variables, facts=replace(FACTS, layers=(LWA,), **starting(**start)))
    lost = [finding for finding in examine(bare, attached=False).findings if finding.rule == "hooks-are-lost"]

    assert said in lost[0].harm
