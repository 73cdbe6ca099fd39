"""What `snapext simulate --template` takes from a template, and what it says when that is not enough."""

from __future__ import annotations

import click
import pytest

from helpers import for_each
from snapext_tools.cli.of_template import start_of

TEMPLATE = """\
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app
      Handler: run.sh
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap
          AWS_LWA_READINESS_CHECK_PORT: 9555
          PORT: 3000
          SNAPEXT_WORKERS: 2
          TABLE: !Ref Table
"""
IMAGE = """\
Resources:
  App:
    Type: AWS::Serverless::Function
    Metadata: {DockerContext: app}
    Properties: {PackageType: Image}
"""


@pytest.fixture
def template(tmp_path):
    """Writes a template beside the folder of an app with a script."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "app" / "run.sh").chmod(0o755)
    (tmp_path / "app" / "plain.sh").write_text("#!/bin/sh\n")

    def write(text=TEMPLATE, dockerfile=None):
        (tmp_path / "template.yaml").write_text(text)
        if dockerfile is not None:
            (tmp_path / "app" / "Dockerfile").write_text(dockerfile)
        return tmp_path / "template.yaml"

    return write


def test_the_script_is_started_in_its_folder_with_the_variables_of_the_template(template):
    """The wrapper and our own port are the simulation's; a value that only the deployment knows is named."""
    start = start_of(template(), None)

    assert (start.command, start.folder.name, start.port) == (("./run.sh",), "app", 3000)
    assert start.variables == {"PORT": "3000", "SNAPEXT_WORKERS": "2", "_HANDLER": "run.sh"}
    assert start.missing == ("TABLE (!Ref Table)",)


def test_a_wrong_readiness_port_stays(template):
    """The simulation has to show it, too."""
    start = start_of(template(TEMPLATE.replace("9555", "8080")), "App")

    assert start.variables["AWS_LWA_READINESS_CHECK_PORT"] == "8080"


@for_each(
    "cmd, command",
    [
        ('CMD ["python", "app.py"]', ("python", "app.py")),
        ('ENTRYPOINT ["python"]\nCMD ["app.py"]', ("python", "app.py")),
        ("CMD exec python app.py", ("/bin/sh", "-c", "exec python app.py")),
    ],
)
def test_an_image_is_started_by_its_dockerfile(template, cmd, command):
    """In its context, with the image's own variables."""
    start = start_of(template(IMAGE, f"FROM python:3.12\nENV PORT=7000\n{cmd}\n"), None)

    assert (command, "app", 7000) == (start.command, start.folder.name, start.port)
    assert start.variables["PORT"] == "7000"


@for_each(
    "old, new, name, said",
    [
        ("App:", "App:", "Other", "has no function Other: it has App"),
        ("run.sh", "gone.sh", None, "gone.sh does not exist"),
        ("run.sh", "plain.sh", None, "plain.sh is not executable"),
        ("run.sh", "app.handler", None, "Lambda's own runtime calls its handler"),
        ("CodeUri: app", "CodeUri: s3://b/k", None, "the code is not a folder or a zip"),
        ("AWS::Serverless::Function", "AWS::DynamoDB::Table", None, "has no function"),
        ("          TABLE", "  B:\n    Type: AWS::Lambda::Function\n#", None, "several functions; name one: App, B"),
    ],
)
def test_what_cannot_be_started_is_one_line(template, old, new, name, said):
    """And wrong usage."""
    with pytest.raises(click.UsageError) as refused:
        start_of(template(TEMPLATE.replace(old, new, 1)), name)
    assert said in refused.value.message
    assert len(refused.value.message.splitlines()) == 1


@for_each("dockerfile, said", [(None, "Dockerfile"), ("FROM python\n", "has no start command")])
def test_an_image_without_a_start_command_is_one_line(template, dockerfile, said):
    """The command can be given without the template."""
    with pytest.raises(click.UsageError) as refused:
        start_of(template(IMAGE, dockerfile), None)
    assert said in refused.value.message
