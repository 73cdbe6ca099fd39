"""The lines that attach snapext where we cannot write them: CDK, Terraform, serverless.yml, and AWS's own command line.

Each is complete for a function as a zip: `{arn}` of snapext's layer, the processor, and the workers are filled in.
"""

from __future__ import annotations

import re
from pathlib import Path

_CDK_PYTHON = """\
# in the arguments of lambda_.Function(…)
architecture=lambda_.Architecture.{cdk},
layers=[adapter, lambda_.LayerVersion.from_layer_version_arn(self, "Snapext", "{arn}")],
environment={{
    "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap",
    "AWS_LWA_READINESS_CHECK_PORT": "9555",{workers_python}
}},
snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS,
# behind it: callers use the alias, never $LATEST
lambda_.Alias(self, "Live", alias_name="live", version=function.current_version)
# then: cdk synth && snapext doctor cdk.out
"""
_CDK_TYPESCRIPT = """\
// in the properties of new lambda.Function(…)
architecture: lambda.Architecture.{cdk},
layers: [adapter, lambda.LayerVersion.fromLayerVersionArn(this, 'Snapext', '{arn}')],
environment: {{
  AWS_LAMBDA_EXEC_WRAPPER: '/opt/snapext/bootstrap',
  AWS_LWA_READINESS_CHECK_PORT: '9555',{workers_typescript}
}},
snapStart: lambda.SnapStartConf.ON_PUBLISHED_VERSIONS,
// behind it: callers use the alias, never $LATEST
new lambda.Alias(this, 'Live', {{ aliasName: 'live', version: fn.currentVersion }});
// then: cdk synth && snapext doctor cdk.out
"""
_TERRAFORM = """\
# in resource "aws_lambda_function"
architectures = ["{processor}"]
publish       = true
layers        = [var.adapter_layer_arn, "{arn}"]
environment {{
  variables = {{
    AWS_LAMBDA_EXEC_WRAPPER      = "/opt/snapext/bootstrap"
    AWS_LWA_READINESS_CHECK_PORT = "9555"{workers_terraform}
  }}
}}
snap_start {{
  apply_on = "PublishedVersions"
}}
# behind it: callers use the alias, never $LATEST
resource "aws_lambda_alias" "live" {{
  name             = "live"
  function_name    = aws_lambda_function.app.function_name
  function_version = aws_lambda_function.app.version
}}
# then: terraform plan -out plan && terraform show -json plan | snapext doctor -
"""
_SERVERLESS = """\
# below functions: NAME: in serverless.yml
    architecture: {processor}
    snapStart: true
    layers:
      - ${{param:adapterLayerArn}}
      - {arn}
    environment:
      AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap
      AWS_LWA_READINESS_CHECK_PORT: "9555"{workers_serverless}
# then: serverless package && snapext doctor .serverless
"""
_AWS = """\
# --environment replaces all variables, and --layers all layers: name the others of the function too
aws lambda update-function-configuration --function-name NAME \\
  --layers ADAPTER_LAYER_ARN {arn} \\
  --snap-start ApplyOn=PublishedVersions \\
  --environment 'Variables={{AWS_LAMBDA_EXEC_WRAPPER=/opt/snapext/bootstrap,{port}{workers_aws}}}'
aws lambda wait function-updated-v2 --function-name NAME
aws lambda publish-version --function-name NAME    # then let the alias that callers use point at it
# then: aws lambda get-function-configuration --function-name NAME --qualifier ALIAS | snapext doctor -
"""
TOOLS = {
    "cdk-python": _CDK_PYTHON,
    "cdk-typescript": _CDK_TYPESCRIPT,
    "terraform": _TERRAFORM,
    "serverless": _SERVERLESS,
    "aws": _AWS,
}
PROCESSORS = ("x86_64", "arm64")
_SHAPES = (
    ("cdk-python", r"^\s*(?:import|from)\s+aws_cdk"),
    ("cdk-typescript", r"aws-cdk-lib|@aws-cdk/"),
    ("terraform", r"^\s*(?:resource|module|provider|terraform|variable|locals)\b[^:=\n]*\{"),
    ("serverless", r"^service\s*:"),
)


def lines(tool: str, *, arn: str | None = None, processor: str = "x86_64", workers: int | None = None) -> list[str]:
    """The lines for one of TOOLS. arn: of the layer's version; processor: one of PROCESSORS."""
    count = "" if workers is None else str(workers)
    text = TOOLS[tool].format(
        arn=arn or "SNAPEXT_LAYER_ARN",
        processor=processor,
        port="AWS_LWA_READINESS_CHECK_PORT=9555",
        cdk="ARM_64" if processor == "arm64" else "X86_64",
        workers_python=count and f'\n    "SNAPEXT_WORKERS": "{count}",',
        workers_typescript=count and f"\n  SNAPEXT_WORKERS: '{count}',",
        workers_terraform=count and f'\n    SNAPEXT_WORKERS              = "{count}"',
        workers_serverless=count and f'\n      SNAPEXT_WORKERS: "{count}"',
        workers_aws=count and f",SNAPEXT_WORKERS={count}",
    )
    return text.splitlines()


def recognise(path: Path) -> str | None:
    """The tool that a file belongs to; None for a template, and for what is none of them."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if text.lstrip().startswith("{") or re.search(r"^Resources\s*:", text, re.MULTILINE):
        return None
    return next((tool for tool, pattern in _SHAPES if re.search(pattern, text, re.MULTILINE)), None)
