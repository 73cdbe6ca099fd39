"""What examples/infra promises: four ways to deploy one function, with the same settings in each."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2
import pytest
from cfnlint.api import lint_file
from cfnlint.config import ManualArgs
from cfnlint.decode import decode

from helpers import leave_out, need
from snapext_extension.config import DEFAULT_PORT
from snapext_tools.doctor.examine import diagnose
from snapext_tools.doctor.template import read_template

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "examples" / "infra"
TEMPLATE = INFRA / "sam" / "template.yaml"
RUN_SH = INFRA / "sam" / "run.sh"
DOCKERFILE = INFRA / "container" / "Dockerfile"
PTH = "/usr/local/lib/python3.12/site-packages/snapext.pth"
ADAPTER_ARN = "arn:aws:lambda:eu-west-1:753240598075:layer:LambdaAdapterLayerX86:25"


@dataclass(frozen=True)
class Example:
    """The settings that must be the same in all four; unavoidable differences are reduced to a yes or no."""

    variables: dict[str, str]
    brings_adapter: bool
    brings_snapext: bool
    links_hooks: bool
    snapstart: bool
    streams_from_the_alias: bool


def wrapped(variables: dict[str, str]) -> bool:
    return variables.get("AWS_LAMBDA_EXEC_WRAPPER") == "/opt/snapext/bootstrap"


CONDITIONAL = """\
Transform: AWS::Serverless-2016-10-31
Parameters: {Env: {Type: String}}
Conditions:
  IsProd: !Equals [!Ref Env, prod]
Globals:
  Function:
    Runtime: python3.12
    Timeout: 10
Resources:
  App:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: app/
      Handler: run.sh
      AutoPublishAlias: live
      SnapStart: {ApplyOn: PublishedVersions}
      Layers:
        - !Sub arn:aws:lambda:${AWS::Region}:123456789012:layer:LambdaAdapterLayerX86:24
        - !Sub arn:aws:lambda:${AWS::Region}:123456789012:layer:snapext:24
      Environment:
        Variables:
          AWS_LAMBDA_EXEC_WRAPPER: !If [IsProd, /opt/bootstrap, /opt/snapext/bootstrap]
          AWS_LWA_READINESS_CHECK_PORT: 9555
          SNAPEXT_WORKER: 2
"""


def test_the_doctors_rules_run_in_cfn_lint_and_find_the_same(tmp_path: Path) -> None:
    """By `--append-rules`, with the line of the template; conditions and the SAM transform are resolved."""
    (tmp_path / "template.yaml").write_text(CONDITIONAL)
    config = ManualArgs(append_rules=["snapext_tools.cfn_lint"], include_checks=["I9"])
    matches = lint_file(tmp_path / "template.yaml", config=config)
    found = {(match.rule.id, match.linenumber) for match in matches}

    assert found == {("E9504", 22), ("W9516", 24), ("I9599", 12)}
    assert "when IsProd is true" in next(match.message for match in matches if match.rule.id == "E9504")
    functions = diagnose(read_template(tmp_path / "template.yaml"))
    assert {finding.rule for one in functions for finding in one.findings} == {"exec-wrapper", "unknown-setting"}


@pytest.fixture(scope="module")
def sam_template() -> dict[str, Any]:
    """The SAM template as it stands; its short forms (!Ref) are spelt out."""
    template, matches = decode(str(TEMPLATE))
    assert matches == []
    return template


@pytest.fixture(scope="module")
def cdk_template(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The template of a copy of the CDK app, beside two zips in place of those of package.sh."""
    need("node")
    if importlib.util.find_spec("aws_cdk") is None:
        leave_out("aws-cdk-lib is not installed: `make test` does that, from the group `cdk`")
    root = tmp_path_factory.mktemp("cdk")
    folder = root / "examples" / "infra" / "cdk"
    folder.mkdir(parents=True)
    (root / "dist").mkdir()
    shutil.copy(INFRA / "cdk" / "app.py", folder)
    for name in ("snapext-layer.zip", "fastapi-app.zip"):
        with zipfile.ZipFile(root / "dist" / name, "w") as archive:
            archive.writestr("name", name)
    env = {**os.environ, "CDK_OUTDIR": str(root / "out")}
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads((root / "out" / "SnapextFastapi.template.json").read_text())


@pytest.fixture(scope="module")
def terraform() -> dict[str, Any]:
    """The Terraform file's resources: type, name, settings."""
    resources: dict[str, Any] = {}
    for block in plain(hcl2.loads((INFRA / "terraform" / "main.tf").read_text()))["resource"]:
        for kind, named in block.items():
            resources.setdefault(kind, {}).update(named)
    return resources


def plain(value: Any) -> Any:
    """The parser keeps the quotes of HCL's strings and adds marks of its own; settings are compared without either."""
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.strip('"') if isinstance(value, str) else value


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    found = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in found)]


def resources_of(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource["Properties"] for resource in template["Resources"].values() if resource["Type"] == kind]


@pytest.fixture
def sam(sam_template: dict[str, Any]) -> Example:
    function = sam_template["Resources"]["App"]["Properties"]
    variables = function["Environment"]["Variables"]
    return Example(
        variables,
        brings_adapter={"Ref": "AdapterLayerArn"} in function["Layers"],
        brings_snapext={"Ref": "SnapextLayer"} in function["Layers"],
        links_hooks=wrapped(variables),
        snapstart=function["SnapStart"] == {"ApplyOn": "PublishedVersions"},
        # The transform gives the URL to the alias when there is one.
        streams_from_the_alias=function["AutoPublishAlias"] == "live"
        and function["FunctionUrlConfig"]["InvokeMode"] == "RESPONSE_STREAM",
    )


@pytest.fixture
def cdk(cdk_template: dict[str, Any]) -> Example:
    (function,) = resources_of(cdk_template, "AWS::Lambda::Function")
    (url,) = resources_of(cdk_template, "AWS::Lambda::Url")
    (alias,) = resources_of(cdk_template, "AWS::Lambda::Alias")
    (layer,) = (name for name, it in cdk_template["Resources"].items() if it["Type"] == "AWS::Lambda::LayerVersion")
    variables = function["Environment"]["Variables"]
    return Example(
        variables,
        brings_adapter={"Ref": "AdapterLayerArn"} in function["Layers"],
        brings_snapext={"Ref": layer} in function["Layers"],
        links_hooks=wrapped(variables),
        snapstart=function["SnapStart"] == {"ApplyOn": "PublishedVersions"},
        streams_from_the_alias=url["InvokeMode"] == "RESPONSE_STREAM" and url["Qualifier"] == alias["Name"] == "live",
    )


@pytest.fixture
def hcl(terraform: dict[str, Any]) -> Example:
    function = terraform["aws_lambda_function"]["app"]
    url = terraform["aws_lambda_function_url"]["live"]
    variables = function["environment"][0]["variables"]
    return Example(
        variables,
        brings_adapter="${var.adapter_layer_arn}" in function["layers"],
        brings_snapext="${aws_lambda_layer_version.snapext.arn}" in function["layers"],
        links_hooks=wrapped(variables),
        snapstart=function["snap_start"] == [{"apply_on": "PublishedVersions"}] and function["publish"] is True,
        streams_from_the_alias=url["invoke_mode"] == "RESPONSE_STREAM"
        and url["qualifier"] == "${aws_lambda_alias.live.name}",
    )


@pytest.fixture
def container() -> Example:
    told = instructions()
    variables = dict(word.split("=", 1) for name, rest in told if name == "ENV" for word in shlex.split(rest))
    commands = (INFRA / "container" / "README.md").read_text()
    adapter = r"--from=public\.ecr\.aws/awsguru/aws-lambda-adapter:\S+ /lambda-adapter /opt/extensions/lambda-adapter"
    return Example(
        variables,
        brings_adapter=any(name == "COPY" and re.fullmatch(adapter, rest) for name, rest in told),
        brings_snapext=("COPY", "--from=snapext /opt/ /opt/") in told
        and any(name == "RUN" and "snapext layer install /" in rest for name, rest in told),
        links_hooks=("COPY", f"--from=snapext {PTH} {PTH.removesuffix('snapext.pth')}") in told,
        snapstart=("LABEL", 'com.amazonaws.lambda.feature.snapstart="Allow"') in told
        and "--snap-start ApplyOn=PublishedVersions" in commands,
        streams_from_the_alias="--qualifier live --auth-type AWS_IAM --invoke-mode RESPONSE_STREAM" in commands,
    )


@pytest.mark.parametrize("name", ["sam", "cdk", "hcl", "container"])
def test_each_example_sets_all_that_the_hooks_need(name: str, request: pytest.FixtureRequest) -> None:
    """The adapter, snapext and its link, the gate as the readiness check, SnapStart, and a URL that uses a version."""
    example = request.getfixturevalue(name)
    needed = {
        "AWS_LWA_PORT": "8000",
        "AWS_LWA_READINESS_CHECK_PORT": str(DEFAULT_PORT),
        "AWS_LWA_INVOKE_MODE": "response_stream",
        "SNAPEXT_WORKERS": "2",
    }
    assert example == Example(
        {**example.variables, **needed},
        brings_adapter=True,
        brings_snapext=True,
        links_hooks=True,
        snapstart=True,
        streams_from_the_alias=True,
    )


def test_the_sam_template_passes_the_linter() -> None:
    """Neither errors nor warnings."""
    assert [str(match) for match in lint_file(TEMPLATE)] == []


def test_the_linter_sees_a_wrong_setting_of_the_sam_template(tmp_path: Path) -> None:
    """So that its silence means something."""
    wrong = tmp_path / "template.yaml"
    wrong.write_text(TEMPLATE.read_text().replace("ApplyOn: PublishedVersions", "ApplyOn: EachMonday"))
    assert any("EachMonday" in str(match) for match in lint_file(wrong))


def test_each_kind_of_zip_function_is_the_same_one(
    sam_template: dict[str, Any], cdk_template: dict[str, Any], terraform: dict[str, Any]
) -> None:
    """Runtime, handler, processor, memory and timeout do not differ between SAM, CDK and Terraform."""
    keys = ("Runtime", "Handler", "Architectures", "MemorySize", "Timeout")
    expected = ["python3.12", "run.sh", ["x86_64"], 1024, 30]
    (synthesised,) = resources_of(cdk_template, "AWS::Lambda::Function")
    function = terraform["aws_lambda_function"]["app"]
    assert expected == [sam_template["Resources"]["App"]["Properties"][key] for key in keys]
    assert expected == [synthesised[key] for key in keys]
    assert expected == [function[key] for key in ("runtime", "handler", "architectures", "memory_size", "timeout")]


def test_the_adapters_public_arn_is_taken_and_a_placeholder_is_not(
    sam_template: dict[str, Any], cdk_template: dict[str, Any]
) -> None:
    """A forgotten REGION or NN fails before anything is deployed."""
    source = (INFRA / "terraform" / "main.tf").read_text()
    of_terraform = re.search(r'regex\("\^(.+)\$"', source)
    assert of_terraform is not None
    patterns = [of_terraform[1]]
    patterns += [t["Parameters"]["AdapterLayerArn"]["AllowedPattern"] for t in (sam_template, cdk_template)]
    assert len(set(patterns)) == 1
    assert re.fullmatch(patterns[0], ADAPTER_ARN)
    assert not re.fullmatch(patterns[0], ADAPTER_ARN.replace("eu-west-1", "REGION"))
    assert not re.fullmatch(patterns[0], ADAPTER_ARN.replace(":25", ":NN"))


def test_the_image_starts_the_server_that_the_script_starts() -> None:
    """Word for word, with the variables' values written out; the image has a shell, but its CMD needs none."""
    (cmd,) = (json.loads(rest) for name, rest in instructions() if name == "CMD")
    script = RUN_SH.read_text().partition("exec ")[2].replace("\\\n", " ")
    script = script.replace("${SNAPEXT_WORKERS:-1}", "2").replace("${AWS_LWA_PORT:-8000}", "8000")
    assert ["python3", "-m", *cmd] == shlex.split(script)


def test_the_scripts_are_programs() -> None:
    """Lambda executes the handler; the zip keeps the mode that the repository gives it."""
    assert all(path.stat().st_mode & stat.S_IXUSR for path in (RUN_SH, INFRA / "package.sh"))


def test_the_start_script_runs_every_hook_in_every_worker() -> None:
    """The function's own handler with the example's app, under the simulator."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # run.sh says python3
    done = subprocess.run(
        [sys.executable, "-m", "snapext", "simulate", "--workers", "2", "--port", port, "--json", "--", str(RUN_SH)],
        cwd=ROOT / "examples" / "fastapi_app",
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    processes = json.loads(done.stdout)["processes"]
    assert [process["hooks"] for process in processes] == [{"before_snapshot": 1, "after_restore": 2}] * 2
