"""What the doctor takes, which it knows by its shape, and the command that it names for what it does not take."""

from __future__ import annotations

import json
import zipfile

import pytest

from helpers import for_each
from snapext_tools.doctor.examine import diagnose
from snapext_tools.doctor.settings import Opaque, SourceError
from snapext_tools.doctor.sources import read_source

LWA = "arn:aws:lambda:eu-west-1:753240598075:layer:LambdaAdapterLayerX86:25"
OURS = "arn:aws:lambda:eu-west-1:1:layer:snapext:3"
VARIABLES = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap", "AWS_LWA_READINESS_CHECK_PORT": "9555"}


def package(path, mode=0o755, text="#!/bin/sh\nexec uvicorn --port 8080 app:app\n"):
    """A zip with a handler script of this mode."""
    entry = zipfile.ZipInfo("run.sh")
    entry.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, text)


def rules(functions):
    """What is found, and what could not be judged."""
    (diagnosis,) = diagnose(functions)
    return [finding.rule for finding in diagnosis.findings], {subject for subject, _ in diagnosis.not_judged}


def plan(**values):
    """What `terraform show -json` prints of a plan with one function."""
    of_the_function = {
        "function_name": "app",
        "handler": "run.sh",
        "runtime": "python3.12",
        "filename": "app.zip",
        "publish": True,
        "architectures": ["x86_64"],
        "environment": [{"variables": VARIABLES}],
        "snap_start": [{"apply_on": "PublishedVersions"}],
        "layers": [LWA, OURS],
        **values,
    }
    resource = {"address": "aws_lambda_function.app", "type": "aws_lambda_function", "values": of_the_function}
    return {"format_version": "1.2", "planned_values": {"root_module": {"resources": [resource]}}}


@for_each(
    "values, found",
    [
        ({}, []),
        ({"publish": False}, ["no-published-version"]),
        ({"snap_start": []}, ["snapstart-off"]),
        ({"ephemeral_storage": [{"size": 1024}]}, ["ephemeral-storage"]),
        ({"file_system_config": [{"arn": "a"}]}, ["file-system"]),
        ({"architectures": ["arm64"]}, ["adapter-processor"]),
        ({"environment": [{"variables": {**VARIABLES, "AWS_LWA_ASYNC_INIT": "true"}}]}, ["async-init"]),
    ],
)
def test_a_plan_of_terraform_is_judged_with_its_package(tmp_path, values, found):
    """Its blocks are lists, and its paths start where the plan lies."""
    package(tmp_path / "app.zip")
    (tmp_path / "plan.json").write_text(json.dumps(plan(**values)))

    assert rules(read_source(str(tmp_path / "plan.json"))) == (found, set())


def test_what_a_plan_does_not_know_yet_is_not_judged(tmp_path):
    """A layer that the plan makes is known by the name of its resource."""
    document = plan(layers=None)
    document["resource_changes"] = [
        {"address": "aws_lambda_function.app", "change": {"after_unknown": {"layers": True}}}
    ]
    document["configuration"] = {
        "root_module": {
            "resources": [
                {
                    "address": "aws_lambda_function.app",
                    "expressions": {
                        "layers": {
                            "references": [
                                "var.adapter_arn",
                                "aws_lambda_layer_version.snapext.arn",
                                "aws_lambda_layer_version.snapext",
                            ]
                        }
                    },
                }
            ]
        }
    }
    (function,) = read_source("-", json.dumps(document))

    assert [layer.text for layer in function.facts.layers] == ["var.adapter_arn", "aws_lambda_layer_version.snapext"]
    assert rules([function])[0] == []

    document["planned_values"]["root_module"]["resources"][0]["values"]["layers"] = [OURS, None]
    document["resource_changes"][0]["change"]["after_unknown"]["layers"] = [False, True]
    (function,) = read_source("-", json.dumps(document))
    assert [getattr(layer, "text", layer) for layer in function.facts.layers] == [
        OURS,
        "var.adapter_arn",
        "aws_lambda_layer_version.snapext",
    ]


@for_each(
    "mode, asset, found",
    [
        (0o755, {"aws:asset:path": "asset.1.zip", "aws:asset:property": "Code"}, []),
        (0o644, {"aws:asset:path": "asset.1.zip", "aws:asset:property": "Code"}, ["handler-not-executable"]),
        (0o755, {}, []),
        (0o644, {}, ["handler-not-executable"]),
    ],
)
def test_a_cdk_out_folder_is_read_with_its_assets(tmp_path, mode, asset, found):
    """Every stack's template; the asset's own zip or folder is the package."""
    package(tmp_path / "asset.1.zip", mode)
    properties = {
        "Runtime": "python3.13",
        "Handler": "run.sh",
        "Code": {"S3Bucket": {"Fn::Sub": "b"}, "S3Key": "1.zip"},
        "Layers": [LWA, OURS],
        "SnapStart": {"ApplyOn": "PublishedVersions"},
        "Environment": {"Variables": VARIABLES},
    }
    stack = {
        "Resources": {
            "App1": {"Type": "AWS::Lambda::Function", "Properties": properties, "Metadata": asset},
            "V": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "App1"}}},
        }
    }
    (tmp_path / "manifest.json").write_text('{"version": "1", "artifacts": {}}')
    (tmp_path / "App.template.json").write_text(json.dumps(stack))
    (tmp_path / "asset.2").mkdir(exist_ok=True)
    (tmp_path / "asset.2" / "x.template.json").write_text("a file of the app")
    (tmp_path / "Data.template.json").write_text('{"Resources": {"T": {"Type": "AWS::DynamoDB::Table"}}}')

    assert rules(read_source(str(tmp_path))) == (found, set())


@for_each("wrap", [lambda one: one, lambda one: {"Configuration": one}, lambda one: {"Functions": [one]}])
def test_what_is_deployed_is_judged_from_the_answer_of_aws(wrap):
    """Of get-function-configuration, get-function and list-functions."""
    answer = {
        "FunctionName": "app",
        "FunctionArn": "arn:aws:lambda:x:1:function:app",
        "Runtime": "python3.12",
        "Handler": "run.sh",
        "Version": "$LATEST",
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "EphemeralStorage": {"Size": 512},
        "Layers": [{"Arn": LWA}, {"Arn": OURS}],
        "Environment": {"Variables": VARIABLES},
    }
    found, unread = rules(read_source("-", json.dumps(wrap(answer))))

    assert found == ["snapstart-off"]
    assert {"published versions", "the handler script", "the package"} <= unread


def test_an_empty_list_of_processors_is_the_default():
    """As in AWS's answer for an old function."""
    assert read_source("-", '{"FunctionName": "a", "Architectures": []}')[0].facts.architecture is None
    template = "Resources: {A: {Type: AWS::Lambda::Function, Properties: {Architectures: []}}}"
    assert read_source("-", template)[0].facts.architecture is None


def test_a_package_of_serverless_is_a_template(tmp_path):
    """In its folder, or by its name."""
    template = {"Resources": {"App": {"Type": "AWS::Lambda::Function", "Properties": {"Handler": "run.sh"}}}}
    (tmp_path / "cloudformation-template-update-stack.json").write_text(json.dumps(template))

    assert [function.name for function in read_source(str(tmp_path))] == ["App"]


CONDITIONAL = f"""\
Parameters:
  Env: {{Type: String, AllowedValues: [dev, prod]}}
  Port: {{Type: Number, Default: 9555}}
Conditions:
  IsProd: !Equals [!Ref Env, prod]
  IsDev: !Not [Condition: IsProd]
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: s3://x/y
      Handler: run.sh
      Runtime: python3.12
      AutoPublishAlias: !If [IsProd, live, !Ref AWS::NoValue]
      SnapStart:
        Fn::If: [IsDev, !Ref "AWS::NoValue", {{ApplyOn: PublishedVersions}}]
      Layers: [{LWA}, {OURS}]
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap
          AWS_LWA_READINESS_CHECK_PORT: !Ref Port
          AWS_LWA_ASYNC_INIT: !If [IsProd, "true", "false"]
"""


def test_each_way_in_which_conditions_can_be_decided_is_judged(tmp_path):
    """A finding of some of them says of which; conditions that exclude each other are never both true."""
    functions = read_source("-", CONDITIONAL)
    (diagnosis,) = diagnose(functions)

    assert [dict(function.scenario) for function in functions] == [
        {"IsProd": False, "IsDev": True},
        {"IsProd": True, "IsDev": False},
    ]
    assert {(finding.rule, finding.when) for finding in diagnosis.findings} == {("async-init", "IsProd is true")}
    assert "SnapStart is off when IsProd is false: no hook runs there" in diagnosis.notes
    assert "judged with the defaults of the template's parameters: Port=9555" in diagnosis.notes


@for_each(
    "conditions, ways",
    [
        ("A: !Equals [!Ref P, x]", 2),
        ("A: !Or [!Equals [!Ref P, x], !Equals [!Ref P, y]]", 2),
        ("A: !And [!Equals [!Ref P, x], !Equals [!Ref P, y]]", 1),
        ("A: {Fn::Not: [{Fn::Equals: [{Ref: P}, x]}]}", 2),
        ("A: !Equals [!FindInMap [M, a, b], x]", 2),
        ("A: !Condition A", 1),
        ("B: !Equals [!Ref P, x]", 2),
    ],
)
def test_a_condition_is_decided_in_every_way_it_can_be_and_in_no_other(conditions, ways):
    """Also one that cannot be read, that is not defined, or that refers to itself."""
    text = f"""\
Conditions:
  {conditions}
Resources:
  App:
    Type: AWS::Lambda::Function
    Properties: {{Handler: !If [A, run.sh, app.handler]}}
"""
    assert len(read_source("-", text)) == ways


def test_more_ways_than_can_be_tried_leave_the_values_unjudged():
    """Seven independent conditions are 128 ways."""
    names = "ABCDEFG"
    text = "\n".join(
        [
            "Conditions:",
            *(f"  {name}: !Equals [!Ref {name}, x]" for name in names),
            "Resources:",
            "  App:",
            "    Type: AWS::Lambda::Function",
            "    Properties: {Environment: {Variables: {"
            + ", ".join(f"SNAPEXT_{name}: !If [{name}, a, b]" for name in names)
            + "}}}",
        ]
    )
    (function,) = read_source("-", text)

    assert function.variables["SNAPEXT_A"] == Opaque("!If A", "A")


@for_each("collection", ["[Blue, Green]", "!Ref Names"])
def test_a_loop_of_the_language_extensions_is_unrolled(collection):
    """Also when its values are a parameter's default."""
    text = f"""\
Transform: [AWS::LanguageExtensions, AWS::Serverless-2016-10-31]
Parameters: {{Names: {{Type: CommaDelimitedList, Default: "Blue,Green"}}}}
Resources:
  Fn::ForEach::Apps:
    - Name
    - {collection}
    - App${{Name}}:
        Type: AWS::Serverless::Function
        Properties: {{Handler: run.sh, Environment: {{Variables: {{COLOUR: !Ref Name}}}}}}
"""
    assert [(function.name, function.variables["COLOUR"]) for function in read_source("-", text)] == [
        ("AppBlue", "Blue"),
        ("AppGreen", "Green"),
    ]


def test_a_loop_over_values_from_elsewhere_is_named():
    """Its functions cannot be read, and that is not said to be nothing."""
    text = "Resources: {'Fn::ForEach::Apps': [N, !Ref Names, {'App${N}': {Type: AWS::Lambda::Function}}]}"

    with pytest.raises(SourceError, match="Fn::ForEach::Apps is not read: its values are not in the template"):
        read_source("-", text)
    (beside,) = read_source("-", text[:-1] + ", App: {Type: AWS::Lambda::Function}}")
    assert beside.notes == ("Fn::ForEach::Apps is not read: its values are not in the template",)


@for_each(
    "name, content, said",
    [
        ("main.tf", 'resource "aws_lambda_function" "app" {\n  handler = "run.sh"\n}\n', "terraform show -json plan"),
        ("terraform.tfstate", '{"version": 4, "serial": 1, "lineage": "x"}', "terraform show -json |"),
        (
            "serverless.yml",
            "service: a\nprovider: {name: aws}\nfunctions: {a: {handler: run.sh}}\n",
            "serverless package",
        ),
        ("app.py", "import aws_cdk as cdk\n", "cdk synth && snapext doctor cdk.out"),
        ("app.ts", "import * as cdk from 'aws-cdk-lib';\n", "cdk synth && snapext doctor cdk.out"),
        ("manifest.json", '{"version": "1", "artifacts": {}}', "manifest of a cdk.out folder"),
        ("Dockerfile", 'FROM python:3.12\nCMD ["x"]\n', "snapext doctor template.yaml"),
        ("notes.txt", "just words\n", "none of what the doctor reads: a SAM or CloudFormation template"),
        ("plan", "PK\3\4 and more", "terraform show -json"),
        ("a.json", "{}", "none of what the doctor reads"),
        ("b.json", "[1]", "none of what the doctor reads"),
        ("c.json", '{"format_version": "1", "values": {}}', "no aws_lambda_function"),
        ("e.json", '{"format_version": "1", "values": {"root_module": 7}}', "not what `terraform show -json` prints"),
        ("f.json", json.dumps(plan(runtime=["x"])), "not what `terraform show -json` prints"),
        ("d.toml", "[tool]\nx = {}\n", "none of what the doctor reads"),
        ("gone", None, "No such file or directory"),
    ],
)
def test_for_anything_else_it_names_the_command_that_makes_what_it_takes(tmp_path, name, content, said):
    """In one line."""
    if content is not None:
        (tmp_path / name).write_text(content)

    with pytest.raises(SourceError) as refused:
        read_source(str(tmp_path / name))
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@for_each(
    "file, said",
    [
        ("cdk.json", "cdk synth"),
        ("serverless.yml", "serverless package"),
        ("main.tf", "terraform"),
        ("x", "a directory"),
    ],
)
def test_a_folder_without_a_template_names_the_command_too(tmp_path, file, said):
    """By what lies in it."""
    (tmp_path / f"of {file}").mkdir()
    (tmp_path / f"of {file}" / file).write_text("x")

    with pytest.raises(SourceError, match=said):
        read_source(str(tmp_path / f"of {file}"))
