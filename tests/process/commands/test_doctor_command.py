"""`snapext doctor` as a person or a script uses it: its output, where it goes, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = "AWS_LWA_READINESS_CHECK_PORT=9555\nAWS_LAMBDA_EXEC_WRAPPER=/opt/snapext/bootstrap\n"
TEMPLATE = """\
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      AutoPublishAlias: live
      SnapStart: {ApplyOn: PublishedVersions}
      Layers: [!Ref SnapextLayer]
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap
          AWS_LWA_READINESS_CHECK_PORT: !Ref Port
  Other:
    Type: AWS::Serverless::Function
"""

WHOLE = """\
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app
      Handler: run.sh
      Runtime: python3.12
      AutoPublishAlias: live
      SnapStart: {ApplyOn: PublishedVersions}
      Layers: ["arn:aws:lambda:x:1:layer:snapext:1", "arn:aws:lambda:x:1:layer:LambdaAdapterLayerX86:9"]
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap
          AWS_LWA_READINESS_CHECK_PORT: 9555
"""


def doctor(folder: Path, *words: str, stdin: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    ours = ("SNAPEXT_", "AWS_")
    return subprocess.run(
        [sys.executable, "-m", "snapext", "doctor", *words],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if not name.startswith(ours)}, **env},
        capture_output=True,
        text=True,
        timeout=60,
        input=stdin or "",
    )


def test_nothing_wrong_is_one_line_and_status_0(tmp_path: Path) -> None:
    """Of a function that could be judged as a whole; what an env file cannot tell comes first."""
    (tmp_path / "app.env").write_text(GOOD)
    (tmp_path / "template.yaml").write_text(WHOLE)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run.sh").write_text("#!/bin/sh\nexec gunicorn -w 2 -b 127.0.0.1:8080 app:app\n")
    (tmp_path / "app" / "run.sh").chmod(0o755)
    done = doctor(tmp_path, "template.yaml", "app.env")
    assert (done.returncode, done.stderr) == (0, "")
    whole, start, env, unread = done.stdout.splitlines()
    assert whole == "App (template.yaml): no problems found"
    assert start == "  read: app/run.sh:2 starts gunicorn with 2 workers on port 8080"
    assert env == "app.env: not all could be judged; nothing wrong in the rest"
    assert unread.startswith("  not checked: SnapStart, published versions, the runtime")


def test_each_source_is_told_apart_by_its_shape_also_on_standard_input(tmp_path: Path) -> None:
    """The answer of AWS, and lines of variables; two documents for programs, with the rule and the line."""
    deployed = {
        "FunctionName": "app",
        "Runtime": "python3.13",
        "Handler": "run.sh",
        "Version": "7",
        "SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"},
        "Layers": [{"Arn": "arn:aws:lambda:x:1:layer:snapext:1"}, {"Arn": "a:LambdaAdapterLayerX86:9"}],
        "Environment": {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap"}},
    }
    done = doctor(tmp_path, "--json", "-", stdin=json.dumps(deployed, indent=1))
    document = json.loads(done.stdout)
    (function,) = document["functions"]
    (finding,) = function["findings"]
    assert (done.returncode, document["ok"], function["name"]) == (1, False, "app")
    assert (finding["rule"], finding["severity"]) == ("readiness-port", "error")
    assert (finding["change"]["file"], finding["change"]["line"]) == ("standard input", 19)

    (tmp_path / "app.env").write_text(GOOD + "AWS_LWA_ASYNC_INIT=true\n")
    (run,) = json.loads(doctor(tmp_path, "--sarif", "app.env").stdout)["runs"]
    found, *unread = run["results"]
    assert (found["ruleId"], found["level"]) == ("async-init", "error")
    place = found["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("app.env", 3)
    assert {result["kind"] for result in unread} == {"open"}
    assert {result["ruleId"] for result in run["results"]} <= {rule["id"] for rule in run["tool"]["driver"]["rules"]}


def test_before_attaching_it_says_what_snapstart_would_lose(tmp_path: Path) -> None:
    """With the command that attaches it; and the status is not that of a clean function."""
    text = WHOLE.replace("/opt/snapext/bootstrap", "/opt/bootstrap").replace("layer:snapext", "layer:tools")
    (tmp_path / "template.yaml").write_text(text)
    done = doctor(tmp_path, "template.yaml")
    assert (done.returncode, done.stderr) == (2, "")
    first, second, *_ = done.stdout.splitlines()
    assert first == "nothing here uses snapext: there is no layer of it, no wrapper, and no SNAPEXT_* variable."
    assert second == "This is what SnapStart would lose:"
    assert "SnapStart is on, and snapext is not attached  [hooks-are-lost]" in done.stdout
    assert "snapext attach --template template.yaml App" in done.stdout


def test_an_error_is_status_1_with_the_place_and_the_line(tmp_path: Path) -> None:
    """What is wrong, why it matters, where, and what to write there; other functions are skipped."""
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    done = doctor(tmp_path, "--template", "template.yaml")
    assert (done.returncode, done.stderr) == (1, "")
    head, *shown = done.stdout.splitlines()
    unread = [line for line in shown if line.startswith("  not checked:")]
    assert shown[: len(unread)] == unread
    wrong, harm, place, line, *rest = shown[len(unread) :]
    assert head == "App (template.yaml)"
    assert (
        wrong == "  error    AWS_LAMBDA_EXEC_WRAPPER is '/opt/bootstrap', the web adapter's own wrapper  [exec-wrapper]"
    )
    assert "not linked" in harm
    assert place.split() == ["change", "template.yaml:11", "Resources.App.Properties.Environment.Variables"]
    assert line.strip() == "AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap"
    assert any("!Ref Port, and the template does not give its value" in each for each in unread)
    assert rest[-1] == "snapext is not attached to: Other"


def test_warnings_alone_are_printed_and_status_0(tmp_path: Path) -> None:
    """A misspelt name is a warning, and stops no pipeline."""
    (tmp_path / "app.env").write_text(GOOD + "SNAPEXT_WORKER=4\n")
    done = doctor(tmp_path, "--env-file", "app.env")
    assert done.returncode == 0
    assert "  warning  SNAPEXT_WORKER is not a setting of snapext" in done.stdout
    assert "change app.env:3\n               SNAPEXT_WORKERS=4\n" in done.stdout


def test_without_an_option_the_process_environment_is_read(tmp_path: Path) -> None:
    """Its variables, and nothing of the values that are not about this."""
    done = doctor(tmp_path, SNAPEXT_PORT="9555", AWS_SECRET_ACCESS_KEY="hush")
    assert done.returncode == 1
    assert "AWS_LWA_READINESS_CHECK_PORT=9555" in done.stdout
    assert "hush" not in done.stdout


def test_a_value_cannot_break_the_report_up(tmp_path: Path) -> None:
    """Line feeds and escape sequences are shown, not carried out."""
    (tmp_path / "app.env").write_text(GOOD + 'SNAPEXT_MODE="a\\n\x1b[31mb"\n')
    done = doctor(tmp_path, "--env-file", "app.env")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env-file", "gone"], "cannot read gone: No such file or directory"),
        (["--template", "app.env"], "not a SAM or CloudFormation template"),
        (["--env-file", "template.yaml"], "template.yaml:1 is not a line of the form KEY=VALUE"),
        (["--template", "binary"], "not text in UTF-8"),
        (["--template", "none.yaml"], "has no function"),
        ([], "nothing here uses snapext"),
        (["-"], "standard input is none of what the doctor reads"),
    ],
)
def test_nothing_to_judge_is_one_clear_line_and_status_2(tmp_path: Path, words: list[str], said: str) -> None:
    """Never a traceback, and never a clean bill of health."""
    (tmp_path / "app.env").write_text(GOOD)
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "none.yaml").write_text("Resources: {T: {Type: AWS::DynamoDB::Table}}")
    done = doctor(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_two_sources_are_wrong_usage(tmp_path: Path) -> None:
    """Otherwise it would silently skip one of them."""
    done = doctor(tmp_path, "--env-file", "a", "--template", "b")
    assert (done.returncode, done.stdout) == (2, "")
    assert "exclude each other" in done.stderr


def test_the_help_has_an_example(tmp_path: Path) -> None:
    """One that works as it is."""
    assert "snapext doctor template.yaml" in doctor(tmp_path, "--help").stdout
