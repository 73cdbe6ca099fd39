"""`snapext attach` and `snapext layer publish`: what they write, what they print, and what they refuse."""

from __future__ import annotations

import json

import pytest

from attach_template import PATCH, TEMPLATE, lay_out, run
from helpers import for_each
from snapext_tools.attach import elsewhere
from snapext_tools.attach.attaching import attach
from snapext_tools.attach.merge import onto
from snapext_tools.attach.needs import AttachError
from snapext_tools.cli.attach import attach as attach_command
from snapext_tools.cli.layer import layer as layer_command
from snapext_tools.doctor.dockerfile import image_lines
from snapext_tools.doctor.examine import diagnose
from snapext_tools.doctor.settings import SourceError
from snapext_tools.doctor.template import functions_of
from snapext_tools.doctor.tree import parse_tree


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the template and its script, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    lay_out(tmp_path)
    return tmp_path


COMMENTED = """\
Transform: AWS::Serverless-2016-10-31

# What runs:
# one function
Resources:
  # the function
  App:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app/
      Handler: run.sh
      Runtime: python3.12
      # arm64 is cheaper
      Architectures: [arm64]
      Environment:
        Variables:
          # where it listens
          PORT: 8000
          # the adapter's own
          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap
      Layers:
        # the adapter
        - !Sub arn:aws:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerArm64:24
"""


def test_a_comment_stays_with_what_it_is_about(folder):
    """What is new comes above it: a section, a setting, a layer."""
    (folder / "template.yaml").write_text(COMMENTED)
    lines = attach(folder / "template.yaml", None).text.splitlines()
    behind = {line.strip(): lines[number + 1].strip() for number, line in enumerate(lines) if "#" in line}
    assert behind == {
        "# What runs:": "# one function",
        "# one function": "Resources:",
        "# the function": "App:",
        "# arm64 is cheaper": "Architectures: [arm64]",
        "# where it listens": "PORT: 8000",
        "# the adapter's own": "AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap",
        "# the adapter": "- !Sub arn:aws:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerArm64:24",
    }
    assert lines[:4] == ["Transform: AWS::Serverless-2016-10-31", "", "Parameters:", "  SnapextLayerArn:"]
    assert lines[6:8] == ["", "# What runs:"]
    assert [line for line in COMMENTED.splitlines() if line not in lines] == [
        "          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap"
    ]


def test_the_patch_is_shown_and_nothing_is_written(folder):
    """Only the lines that change: comments, odd spaces, quotes and the order of the rest are not touched."""
    status, out, err = run(attach_command, "--template", "template.yaml")

    assert (status, out) == (0, PATCH)
    assert err.splitlines() == [
        "left to do: snapext layer publish --region REGION prints the command that makes the layer; deploy with its ARN"
    ]
    assert (folder / "template.yaml").read_text() == TEMPLATE


def test_a_template_that_cannot_be_written_is_one_line(folder):
    """Here its name leaves no room for that of the file beside it; the template stays as it is."""
    name = "t" * 250
    (folder / name).write_text(TEMPLATE)

    assert run(attach_command, "--template", name, "--write") == (
        *(1, ""),
        f"Error: cannot write {name}: File name too long\n",
    )
    assert (folder / name).read_text() == TEMPLATE


def test_the_arn_of_the_layer_can_be_given(folder):
    """Then there is no parameter, and nothing is left to do."""
    layer = "arn:aws:lambda:x:1:layer:snapext:1"
    status, out, err = run(attach_command, "--template", "template.yaml", "--layer", layer)

    assert (status, err) == (0, "")
    assert f"+      - {layer}" in out
    assert "SnapextLayerArn" not in out


def test_a_layer_that_is_all_that_is_missing_is_added(folder):
    """By the parameter, too."""
    change = attach(folder / "template.yaml", None)
    (folder / "template.yaml").write_text(change.text.replace("      - !Ref SnapextLayerArn\n", ""))

    assert attach(folder / "template.yaml", None).text == change.text


def test_workers_that_have_no_hooks_yet_are_not_waited_for(folder):
    """Init would wait for processes that never join; what is left to do says so."""
    (folder / "app" / "app.py").write_text("import os\n")
    change = attach(folder / "template.yaml", None)

    assert "SNAPEXT_WORKERS" not in change.text
    assert change.left[0].startswith("register hooks in the app (from snapext import")
    assert "SNAPEXT_INTEGRATIONS=auto, or snapext.install_all()" in change.left[0]


@for_each("setting, said", [("auto", False), ("sqlalchemy,redis", False), ("none", True)])
def test_integrations_need_no_hooks_in_the_app(folder, setting, said):
    """The setting does the work of the hooks; then there is nothing to register."""
    (folder / "app" / "app.py").write_text("import os\n")
    text = TEMPLATE.replace("PORT: 8000   #", f"SNAPEXT_INTEGRATIONS: {setting}\n          PORT: 8000   #")
    (folder / "template.yaml").write_text(text)

    assert any("register hooks" in line for line in attach(folder / "template.yaml", None).left) is said


@for_each("mode", ["explicit", "observe"])
def test_a_mode_without_a_gate_gets_no_readiness_port(folder, mode):
    """With it, init would fail."""
    text = TEMPLATE.replace("PORT: 8000   #", f"SNAPEXT_MODE: {mode}\n          PORT: 8000   #")
    (folder / "template.yaml").write_text(text)
    change = attach(folder / "template.yaml", None)

    assert "READINESS_CHECK_PORT" not in change.text
    assert not any("READINESS_CHECK_PORT is" in line for line in change.left)


def test_what_is_general_stays_general(folder):
    """A variable of the Globals is set for this function alone, and its layers are added to."""
    text = TEMPLATE.replace(
        "  Function: {Timeout: 10}",
        "  Function: {Timeout: 10, Environment: {Variables: {AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap}}}",
    ).replace("          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap\n", "")
    (folder / "template.yaml").write_text(text)
    change = attach(folder / "template.yaml", None)

    assert "+          AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap" in change.patch
    assert [line for line in change.patch if line.startswith("-")] == [change.patch[0]]


def test_cloudformation_gets_a_version_and_an_alias(folder):
    """In YAML and in JSON, with the indents of the file."""
    lwa = "a:LambdaAdapterLayerX86:1"
    resource = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Handler": "run.sh",
            "Code": "app",
            "Runtime": "python3.13",
            "Layers": [lwa],
        },
    }
    (folder / "t.json").write_text(json.dumps({"Resources": {"App": resource}}, indent=4) + "\n")
    change = attach(folder / "t.json", "App")
    document = json.loads(change.text)

    assert document["Resources"]["AppVersion"]["Properties"] == {"FunctionName": {"Ref": "App"}}
    assert document["Resources"]["AppAlias"]["Properties"]["FunctionVersion"] == {
        "Fn::GetAtt": ["AppVersion", "Version"]
    }
    assert document["Resources"]["App"]["Properties"]["Layers"] == [
        {"Ref": "SnapextLayerArn"},
        "a:LambdaAdapterLayerX86:1",
    ]
    assert change.text.startswith('{\n    "Parameters": {\n        "SnapextLayerArn"')
    assert change.text.endswith("}\n")


def test_an_image_gets_the_lines_of_its_dockerfile(folder):
    """The template is changed; the Dockerfile is the reader's."""
    (folder / "Dockerfile").write_text(
        "FROM python:3.12\nCOPY --from=a:1.1.0 /a /opt/extensions/lambda-adapter\nCMD x\n"
    )
    (folder / "template.yaml").write_text(
        "Resources:\n  App:\n    Type: AWS::Serverless::Function\n    Metadata: {DockerContext: .}\n"
        "    Properties: {PackageType: Image}\n"
    )
    change = attach(folder / "template.yaml", None)

    assert change.left[1:3] == image_lines(None)
    assert "AWS_LWA_READINESS_CHECK_PORT" in change.text
    assert "EXEC_WRAPPER" not in change.text
    assert "Layers" not in change.text

    (folder / "template.yaml").write_text(change.text)
    (diagnosis,) = diagnose(functions_of(*parse_tree(change.text, "template.yaml"), "template.yaml", folder))
    assert [finding.rule for finding in diagnosis.findings] == ["image-without-snapext"], "not: run snapext attach"


@for_each(
    "old, new, said",
    [
        (
            "Runtime: python3.12",
            "Runtime: nodejs22.x",
            "App: as a zip Lambda has SnapStart for Java, Python",
        ),
        ("Runtime: python3.12", "Runtime: python3.9", "Lambda has SnapStart for Python 3.12 and later"),
        ("    Type: AWS::Serverless::Function", "    Type: AWS::DynamoDB::Table", "has no function"),
        (
            "      Environment:",
            "      Environment: !If [A, {}, {}]\n      Metadata:",
            "App.Properties.Environment is computed",
        ),
        ("      Layers:\n", "      Layers: !If [A, [x], [y]]\n      Other:\n", "Layers is not a plain list"),
        ("  Table:\n", "  Table:\n    Type: AWS::DynamoDB::Table\n", "cannot be changed"),
    ],
)
def test_what_cannot_be_attached_to_is_one_line(folder, old, new, said):
    """With the reason, and nothing is written."""
    assert old in TEMPLATE
    text = TEMPLATE.replace(old, new, 1)
    (folder / "template.yaml").write_text(text)

    with pytest.raises((AttachError, SourceError)) as refused:
        attach(folder / "template.yaml", None)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_function_is_named_where_several_can_be_meant(folder):
    """A handler that Lambda's runtime calls is not meant, unless it is named."""
    second = "  Two:\n    Type: AWS::Serverless::Function\n    Properties: {Handler: %s, Runtime: python3.12}\n"
    (folder / "template.yaml").write_text(TEMPLATE + second % "app.handler")
    assert attach(folder / "template.yaml", None).function == "App"
    with pytest.raises(AttachError, match="snapext is not needed"):
        attach(folder / "template.yaml", "Two")
    with pytest.raises(AttachError, match="has no function Three: it has App, Two"):
        attach(folder / "template.yaml", "Three")
    (folder / "template.yaml").write_text(TEMPLATE + second % "run.sh")
    with pytest.raises(AttachError, match="several functions; name one: App, Two"):
        attach(folder / "template.yaml", None)


@for_each(
    "name, text, tool",
    [
        ("main.tf", 'resource "aws_lambda_function" "app" {\n', "terraform"),
        ("app.py", "from aws_cdk import Stack\n", "cdk-python"),
        ("app.ts", "import * as cdk from 'aws-cdk-lib'\n", "cdk-typescript"),
        ("serverless.yml", "service: app\nresources:\n  Resources: {}\n", "serverless"),
        ("template.yaml", TEMPLATE, None),
        ("gone", None, None),
    ],
)
def test_the_tool_is_recognised_by_the_file(folder, name, text, tool):
    """A template is none of them."""
    if text is not None:
        (folder / name).write_text(text)
    assert tool == elsewhere.recognise(folder / name)


@for_each("tool", list(elsewhere.TOOLS))
def test_the_lines_for_another_tool_are_complete(tool):
    """With the layer, the processor and the workers; every setting that the hooks need."""
    text = "\n".join(elsewhere.lines(tool, arn="arn:x", processor="arm64", workers=3))

    for word in (
        "/opt/snapext/bootstrap",
        "AWS_LWA_READINESS_CHECK_PORT",
        "9555",
        "arn:x",
        "SNAPEXT_WORKERS",
        "snapext doctor",
    ):
        assert word in text, word
    assert "SNAPEXT_WORKERS" not in "\n".join(elsewhere.lines(tool))
    assert "SNAPEXT_LAYER_ARN" in "\n".join(elsewhere.lines(tool))
    assert tool == "aws" or "arm64" in text.lower().replace("_", "")


@for_each(
    "words, said",
    [
        ([], "name a --template, or a tool with --for"),
        (["--template", "t", "--for", "aws"], "name a --template, or a tool with --for"),
        (["--for", "terraform", "--write"], "--write changes templates only"),
        (["--for", "chef"], "'chef' is not one of"),
        (["--for", "aws", "--processor", "mips"], "'mips' is not one of"),
    ],
)
def test_wrong_usage_of_attach_is_status_2(words, said):
    """Before anything is read."""
    status, out, err = run(attach_command, *words)

    assert (status, out) == (2, "")
    assert said in err


def test_a_file_that_is_not_there_is_one_line():
    """And status 1."""
    assert run(attach_command, "--template", "gone") == (1, "", "Error: cannot read gone: No such file or directory\n")


@for_each(
    "text, plain, changed, expected",
    [
        ("a:  1\nb: 2\n", "a: 1\nb: 2\n", "a: 1\nnew: 3\nb: 2\n", "a:  1\nnew: 3\nb: 2\n"),
        ("a:\n    - 1\n", "a:\n- 1\n", "a:\n- 0\n- 1\n", "a:\n- 0\n    - 1\n"),
        ("a:\n    - 1\n", "a:\n- 1\n", "a:\n- 1\n- 2\n", "a:\n    - 1\n    - 2\n"),
        ("a:  1\r\nb: 2\r\n", "a: 1\nb: 2\n", "a: 1\nb: 3\n", "a:  1\r\nb: 3\r\n"),
        ("a:  1\nb: 2", "a: 1\nb: 2\n", "a: 1\n", "a:  1"),
        ("a: {x:  1}\n", "a: {x: 1}\n", "a: {x: 1, y: 2}\n", "a: {x: 1, y: 2}\n"),
        ('a: "x"\nb: 1\n', "a: x\nb: 1\n", "a: y\nb: 1\n", "a: y\nb: 1\n"),
    ],
)
def test_a_change_is_put_onto_a_text_that_its_writer_would_not_keep(text, plain, changed, expected):
    """Line by line; where a changed line is not found again, the writer's own text is taken."""
    assert onto(text, plain, changed) == expected


def test_the_layer_is_published_by_commands_that_are_printed(folder):
    """For each region, for one processor or both; the zip is made first where it is not there."""
    status, out, _ = run(
        layer_command, "publish", "--region", "eu-west-1", "--region", "us-east-1", "--processor", "arm64"
    )
    build, first, second = out.splitlines()

    assert status == 0
    assert build == "mkdir -p dist && snapext layer build -o dist/snapext-layer.zip"
    assert first.startswith(
        "aws lambda publish-layer-version --region eu-west-1 --layer-name snapext --zip-file fileb://"
    )
    assert "--compatible-architectures arm64 --description" in first
    assert "--region us-east-1" in second
    (folder / "x.zip").write_text("")
    _, out, _ = run(layer_command, "publish", "--region", "eu-west-1", "--zip", "x.zip")
    assert "--compatible-architectures x86_64 arm64 --description" in out
    assert len(out.splitlines()) == 1


def test_a_region_that_is_none_is_wrong_usage():
    """It would reach a shell."""
    status, _, err = run(layer_command, "publish", "--region", "moon; ls")

    assert status == 2
    assert "is not a region such as eu-west-1" in err
