"""What the doctor reads from env files and templates, and what it refuses."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from helpers import for_each
from snapext_tools.attach.attaching import attach
from snapext_tools.attach.needs import AttachError
from snapext_tools.doctor.env_file import read_env_file
from snapext_tools.doctor.examine import examine
from snapext_tools.doctor.settings import Bundled, Opaque, SourceError
from snapext_tools.doctor.template import read_template
from snapext_tools.doctor.tree import parse_tree

CLEAN = """\
Transform: AWS::Serverless-2016-10-31
Globals:
  Function:
    Runtime: python3.12
    Layers: [!Sub "arn:aws:lambda:${AWS::Region}:1:layer:snapext:3", "arn:aws:lambda:x:1:layer:LambdaAdapterLayerX86:9"]
    Environment:
      Variables:
        AWS_LWA_READINESS_CHECK_PORT: 9555
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app
      Handler: run.sh
      AutoPublishAlias: live
      SnapStart: {ApplyOn: PublishedVersions}
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap
          TABLE: !GetAtt Table.Arn
  Table:
    Type: AWS::DynamoDB::Table
"""


def template(folder, text, name="template.yaml"):
    (folder / "app").mkdir(exist_ok=True)
    (folder / "app" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "app" / "run.sh").chmod(0o755)
    (folder / name).write_text(text)
    return read_template(folder / name)


def env(folder, text):
    (folder / "app.env").write_text(text)
    return read_env_file(folder / "app.env")


def test_a_sam_template_is_read_with_its_globals(tmp_path):
    """Mappings are joined, lists concatenated, and this template has no findings."""
    (app,) = template(tmp_path, CLEAN)

    assert {name: value for name, value in app.variables.items() if isinstance(value, str)} == {
        "AWS_LWA_READINESS_CHECK_PORT": "9555",
        "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap",
    }
    assert Opaque("!GetAtt Table.Arn", "Table.Arn") == app.variables["TABLE"]
    assert (examine(app).findings, examine(app).not_judged) == ((), ())


def test_a_function_overrides_what_is_general(tmp_path):
    """The function's own value wins, and the finding names its line."""
    own = CLEAN.replace(
        "        Variables:\n          AWS",
        "        Variables:\n          AWS_LWA_READINESS_CHECK_PORT: 1\n          AWS",
    )
    (finding,) = examine(template(tmp_path, own)[0]).findings

    assert finding.change.verb == "change"
    assert f"{tmp_path}/template.yaml:19  Resources.App.Properties.Environment.Variables" == str(finding.change.place)
    assert finding.change.line == 'AWS_LWA_READINESS_CHECK_PORT: "9555"'


def test_what_is_general_is_changed_where_it_stands_and_what_is_missing_is_the_functions_own(tmp_path):
    """A wrong value in the Globals is changed there; no new line is added there."""
    wrong = CLEAN.replace(" 9555", " 1").replace("AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap", "A: b")
    port, wrapper = examine(template(tmp_path, wrong)[0]).findings

    assert ":8  Globals.Function.Environment.Variables" in str(port.change.place)
    assert (
        wrapper.change.verb,
        str(wrapper.change.place).endswith(":18  Resources.App.Properties.Environment.Variables"),
    ) == ("add", True)


def test_a_json_template_is_told_in_json(tmp_path):
    """The same rules, and lines in the syntax of the file, tabs and all."""
    document = {
        "Resources": {
            "App": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.13",
                    "Code": {"S3Bucket": "b"},
                    "Layers": [{"Ref": "SnapextLayer"}, {"Ref": "Adapter"}],
                    "SnapStart": {"ApplyOn": "PublishedVersions"},
                    "Environment": {"Variables": {"SNAPEXT_WORKERS": {"Ref": "Workers"}, "AWS_LWA_ASYNC_INIT": True}},
                },
            }
        }
    }
    (app,) = template(tmp_path, json.dumps(document, indent="\t"), "template.json")
    lines = [finding.change.line for finding in examine(app).findings]

    assert lines == [
        '"AWS_LWA_READINESS_CHECK_PORT": "9555"',
        '"AWS_LWA_ASYNC_INIT": "false"',
        '"AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap"',
        '"AppVersion": {"Type": "AWS::Lambda::Version", "Properties": {"FunctionName": {"Ref": "App"}}}',
    ]
    assert [subject for subject, _ in examine(app).not_judged] == [
        "the handler script",
        "the start command",
        "the package",
        "snapext's settings",
        "hooks in the app's code",
    ]


PLAIN = """\
Resources:
  App:
    Type: AWS::Lambda::Function
    Properties: {FunctionName: my-app, Environment: {Variables: {SNAPEXT_PORT: 9555}}}
  V:
    Type: AWS::Lambda::Version
    Properties: {FunctionName: %s}
"""


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("!Ref App", True),
        ("!GetAtt App.Arn", True),
        ("!GetAtt [App, Arn]", True),
        ("{Ref: App}", True),
        ('{"Fn::GetAtt": [App, Arn]}', True),
        ("my-app", True),
        ("another", False),
        ("!Ref V", False),
    ],
)
def test_a_version_counts_for_the_function_that_it_names(tmp_path, name, published):
    """In every way to refer to it."""
    assert template(tmp_path, PLAIN % name)[0].facts.published is published


def test_a_version_of_something_unknown_leaves_it_open(tmp_path):
    """A parameter may be any function's name."""
    assert isinstance(template(tmp_path, PLAIN % "!Ref Which")[0].facts.published, Opaque)


@pytest.mark.parametrize("value", ["!Ref AWS::NoValue", "{Ref: 'AWS::NoValue'}", "null", ""])
def test_no_value_is_not_set(tmp_path, value):
    """CloudFormation leaves such a property out."""
    text = CLEAN.replace("AutoPublishAlias: live", f"AutoPublishAlias: {value}")

    assert template(tmp_path, text)[0].facts.published is False


@pytest.mark.parametrize(
    "variables", ["!FindInMap [A, B, C]", "{'Fn::Transform': {Name: Include}, SNAPEXT_PORT: '9555'}"]
)
def test_variables_from_elsewhere_are_not_said_to_be_missing(tmp_path, variables):
    """The whole block, or a macro in it, is known only when it is deployed."""
    text = f"""\
Resources:
  App:
    Type: AWS::Lambda::Function
    Properties: {{Environment: {{Variables: {variables}}}, Layers: [snapext]}}
"""
    diagnosis = examine(template(tmp_path, text)[0])

    assert "the readiness port" in [subject for subject, _ in diagnosis.not_judged]
    assert not [finding for finding in diagnosis.findings if "READINESS" in finding.wrong]


def test_anchors_and_merges_are_followed(tmp_path):
    """In the forms of CloudFormation's YAML."""
    text = CLEAN.replace("Globals:", "Common: &common {AWS_LWA_ASYNC_INIT: true}\nGlobals:").replace(
        "          TABLE:", "          <<: *common\n          TABLE:"
    )

    assert template(tmp_path, text)[0].variables["AWS_LWA_ASYNC_INIT"] == "true"


def test_a_pyyaml_without_its_parser_in_c_reads_the_same(monkeypatch):
    """With the same lines; only slower."""
    by_c = parse_tree(CLEAN, "template.yaml")
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)

    assert parse_tree(CLEAN, "template.yaml") == by_c


def test_a_layer_made_in_the_template_is_known_by_its_resource(tmp_path):
    """Its own name may say nothing."""
    layered = CLEAN.replace("Layers: [!Sub", "Layers: [!Ref Tools, !Sub").replace(":layer:snapext", ":layer:x")
    text = layered + "  Tools: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: snapext-layer.zip}}\n"

    assert examine(template(tmp_path, text)[0]).findings == ()


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("requirements.txt", "flask\nsnapshot-restore-py==1.0.0\n", 2),
        ("requirements.txt", "Snapshot_Restore_Py\n", 1),
        ("snapshot_restore_py.py", "", None),
    ],
)
def test_a_bundled_hook_module_is_found_in_the_codes_folder(tmp_path, name, content, line):
    """In the requirements, or as a module."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / name).write_text(content)
    package = template(tmp_path, CLEAN)[0].facts.package

    assert isinstance(package, Bundled)
    assert line == package.place.line


def test_another_requirement_is_not_taken_for_it(tmp_path):
    """A name that only begins like it, or a comment."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "requirements.txt").write_text("# snapshot-restore-py\nsnapshot-restore-py-x==1\n")

    assert template(tmp_path, CLEAN)[0].facts.package is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a mapping"),
        ("- a\n", "not a mapping"),
        ("just words\n", "not a mapping"),
        ("a: b\n", "no Resources"),
        ("Resources: {}\n", "no Resources"),
        ("Resources: {T: {Type: AWS::DynamoDB::Table}}\n", "has no function"),
        ("Resources: {T: x}\n", "has no function"),
        ("a: [\n", "is not YAML or JSON"),
        ("a: b\n---\nc: d\n", "is not YAML or JSON"),
        ("a: *nowhere\n", "is not YAML or JSON"),
        ("a: \x01\n", "is not YAML or JSON"),
        ("a: &a [*a]\n", "contains itself"),
        ("[" * 500, "nested too deep"),
        ("a\0b", "not text"),
    ],
)
def test_what_is_no_template_is_refused_in_one_line(tmp_path, text, said):
    """Whatever is in the file."""
    with pytest.raises(SourceError, match=said) as refused:
        template(tmp_path, text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "properties",
    [
        "!If [a, b, c]",
        "[1]",
        "text",
        "{Environment: !If [a, b]}",
        "{Layers: !Ref L, Environment: {Variables: [1]}}",
        "{Layers: {a: b}}",
    ],
)
def test_an_odd_shape_is_no_crash(tmp_path, properties):
    """The doctor is for templates that are wrong."""
    text = f"Resources: {{App: {{Type: AWS::Serverless::Function, Properties: {properties}}}}}\nGlobals: !Ref X\n"

    assert examine(template(tmp_path, text)[0]).not_judged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1\n", {"A": "1"}),
        ("# c\n\n  export A = 1  # why\nB=x#y\n", {"A": "1", "B": "x#y"}),
        ('A=\'x # y\'\nB="a\\"b\\n" # c\n', {"A": "x # y", "B": 'a"b\n'}),
        ('KEY="-----BEGIN\nx\n-----END"\nA=1', {"KEY": "-----BEGIN\nx\n-----END", "A": "1"}),
        ("\ufeffA=\nB=\r\n", {"A": "", "B": ""}),
        ('J={"a": 1}\n', {"J": '{"a": 1}'}),
        ("A=${B}\nC='${B}'\nD=a$\n", {"A": Opaque("${B}", "${B}"), "C": "${B}", "D": "a$"}),
    ],
)
def test_an_env_file_is_read_as_a_shell_would(tmp_path, text, expected):
    """Comments, quotes, `export`, multi-line values; it does not expand variables."""
    assert expected == env(tmp_path, text).variables


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no line"),
        ("# nothing\n", "has no line"),
        ("A=1\nsecret words\n", ":2 is not"),
        ("A='open\n", ":1 is not"),
        ("1=2\n", ":1 is not"),
    ],
)
def test_what_is_no_env_file_is_refused_without_showing_it(tmp_path, text, said):
    """The message has the line's number, not its text: it may be a secret."""
    with pytest.raises(SourceError, match=said) as refused:
        env(tmp_path, text)
    assert "secret" not in str(refused.value)


def test_an_env_file_names_lines_and_leaves_the_rest_unjudged(tmp_path):
    """Variables alone say nothing about SnapStart, versions, the runtime, the package and the layer."""
    diagnosis = examine(env(tmp_path, "# c\nAWS_LWA_READINESS_CHECK_PORT=8080\n"))
    port, wrapper = diagnosis.findings

    assert (
        port.change.verb,
        port.change.place.line,
        port.change.line,
    ) == ("change", 2, "AWS_LWA_READINESS_CHECK_PORT=9555")
    assert (*(wrapper.change.verb, wrapper.change.place.line, wrapper.change.line),) == (
        "add",
        None,
        "AWS_LAMBDA_EXEC_WRAPPER=/opt/snapext/bootstrap",
    )
    assert [subject for subject, _ in diagnosis.not_judged] == [
        "SnapStart",
        "published versions",
        "the runtime",
        "SnapStart's limits",
        "the handler script",
        "the web adapter's processor",
        "the layer",
        "the web adapter's release",
        "the image",
        "the start command",
        "the package",
        "hooks in the app's code",
        "the web adapter",
    ]


def test_layers_of_the_globals_and_the_functions_own_add_up(tmp_path):
    """SAM joins lists; a function with a layer of its own keeps the general ones."""
    (app,) = template(
        tmp_path, CLEAN.replace("      Handler:", "      Layers: [arn:aws:lambda:x:1:layer:tools:1]\n      Handler:")
    )

    assert len(app.facts.layers) == 3
    assert examine(app).findings == ()


def test_what_only_the_globals_have_is_added_to_the_function_itself(tmp_path):
    """A new line in the Globals would be every function's; the nearest line of the function's own is named."""
    text = CLEAN.replace(
        "      Environment:\n        Variables:\n          AWS_LAMBDA", "      Metadata:\n          - AWS_LAMBDA"
    )
    text = text.replace("          TABLE: !GetAtt Table.Arn\n", "")
    (wrapper,) = examine(template(tmp_path, text)[0]).findings

    assert str(wrapper.change.place).endswith(":12  Resources.App.Properties.Environment.Variables")


ALONE = """\
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      Handler: run.sh
      Runtime: python3.12
      Layers: [!Sub "arn:${AWS::Partition}:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerX86:25"]
      Environment: {Variables: {SNAPEXT_PORT: 9555}}
"""


def test_a_layer_is_known_by_its_name_where_the_region_alone_is_open(tmp_path):
    """So snapext's is missing; a number is judged the same way, and a layer of the template goes by its own name."""
    (tmp_path / "run.sh").write_text("#!/bin/sh\n")

    def found(text):
        diagnosis = examine(template(tmp_path, text)[0])
        assert "the layer" not in dict(diagnosis.not_judged)
        return {finding.rule: finding.wrong for finding in diagnosis.findings if "layer" in finding.wrong}

    assert found(ALONE) == {"layer-missing": "the web adapter's is the only layer: snapext's is missing"}
    own = "  Tools: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: tools}}\n"
    other = found(ALONE.replace("Layers: [", "Layers: [!Ref Tools, ") + own)
    assert other == {"no-layer": "no layer has snapext's name, unless it is in Tools"}


def test_a_python_without_snapstart_is_told_the_one_that_has_it(tmp_path):
    """The doctor names the line, and attach refuses with the same words."""
    text = ALONE.replace("3.12", "3.11").replace("SNAPEXT_PORT", "PORT")
    (note,) = examine(template(tmp_path, text)[0], attached=False).findings

    assert (note.change.verb, note.change.place.line, note.change.line) == ("change", 6, "Runtime: python3.12")
    assert note.harm.endswith("; for SnapStart: Runtime: python3.12")
    with pytest.raises(AttachError, match=r"for SnapStart: Runtime: python3\.12"):
        attach(tmp_path / "template.yaml", None)


@for_each(
    "name, content, said",
    [
        (
            "requirements.txt",
            "redis\n\nsnapext==0.1.5\n",
            "requirements.txt:3 names snapext, another project: name lambda-",
        ),
        (
            "requirements.txt",
            "Snapext[x] ; python_version > '3'\n",
            "requirements.txt:1 names snapext, another project",
        ),
        ("snapext/__init__.py", "", "snapext/__init__.py in the code is a package snapext, another project"),
        ("snapext.py", "", "snapext.py in the code is a package snapext, another project"),
        ("requirements.txt", "lambda-snapext\nsnapextra\n# snapext\nsnapext-x==1\n", ""),
        ("snapext/settings.toml", "", ""),
    ],
)
def test_another_project_of_the_name_is_an_error_in_each_package(tmp_path, name, content, said):
    """In a zip's folder and in an image's; ours, which the app may have as well, is known as such."""
    shutil.rmtree(tmp_path / "app", ignore_errors=True)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "app" / "Dockerfile").write_text("FROM python:3.12\n")
    (tmp_path / "app" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "app" / name).write_text(content)
    zipped = ALONE.replace("Handler:", "CodeUri: app\n      Handler:")
    image = "Resources: {App: {Type: AWS::Serverless::Function, Metadata: {DockerContext: app}, Properties: "
    image += "{PackageType: Image}}}"

    def found(text):
        findings = examine(template(tmp_path, text)[0]).findings
        return [finding.wrong for finding in findings if finding.rule == "foreign-snapext"]

    for text in (zipped, image):
        wrong = "".join(found(text))
        assert said in wrong if said else wrong == ""
    (tmp_path / "app" / "snapext" / "wire").mkdir(parents=True, exist_ok=True)
    assert found(zipped) == [] or "names" in said
