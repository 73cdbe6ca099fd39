"""`snapext doctor` as a person or a script uses it: its output, where it goes, and its exit status."""

from __future__ import annotations

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


def doctor(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    ours = ("SNAPEXT_", "AWS_")
    return subprocess.run(
        [sys.executable, "-m", "snapext", "doctor", *words],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if not name.startswith(ours)}, **env},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def test_nothing_wrong_is_one_line_and_status_0(tmp_path: Path) -> None:
    """And what an env file cannot tell is named."""
    (tmp_path / "app.env").write_text(GOOD)
    done = doctor(tmp_path, "--env-file", "app.env")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "app.env: no problems found"
    assert "not checked: SnapStart, published versions, the runtime" in done.stdout


def test_an_error_is_status_1_with_the_place_and_the_line(tmp_path: Path) -> None:
    """What is wrong, why it matters, where, and what to write there; other functions are skipped."""
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    done = doctor(tmp_path, "--template", "template.yaml")
    assert (done.returncode, done.stderr) == (1, "")
    head, wrong, harm, place, line, *rest = done.stdout.splitlines()
    assert head == "App (template.yaml)"
    assert wrong == "  error    AWS_LAMBDA_EXEC_WRAPPER is '/opt/bootstrap', the web adapter's own wrapper"
    assert "not linked" in harm
    assert place.split() == ["change", "template.yaml:11", "Resources.App.Properties.Environment.Variables"]
    assert line.strip() == "AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap"
    assert any("!Ref Port, and the template does not give its value" in each for each in rest)
    assert rest[-1].endswith("about snapext: Other")


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
        (["--template", "."], "cannot read .: Is a directory"),
        (["--template", "app.env"], "not a SAM or CloudFormation template"),
        (["--env-file", "template.yaml"], "template.yaml:1 is not a line of the form KEY=VALUE"),
        (["--template", "binary"], "not text in UTF-8"),
        (["--template", "none.yaml"], "has no function"),
        (["--template", "unrelated.yaml"], "nothing here uses snapext"),
        ([], "nothing here uses snapext"),
    ],
)
def test_nothing_to_judge_is_one_clear_line_and_status_2(tmp_path: Path, words: list[str], said: str) -> None:
    """Never a traceback, and never a clean bill of health."""
    (tmp_path / "app.env").write_text(GOOD)
    (tmp_path / "template.yaml").write_text(TEMPLATE)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "none.yaml").write_text("Resources: {T: {Type: AWS::DynamoDB::Table}}")
    (tmp_path / "unrelated.yaml").write_text("Resources: {T: {Type: AWS::Lambda::Function}}")
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
    assert "snapext doctor --template template.yaml" in doctor(tmp_path, "--help").stdout
