"""FastAPI under gunicorn behind the Lambda Web Adapter, with SnapStart hooks in every worker (snapext)."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

DIST = Path(__file__).resolve().parents[3] / "dist"  # what package.sh has made


class AppStack(cdk.Stack):
    def __init__(self, scope: Construct, name: str):
        super().__init__(scope, name)

        # No default: it depends on your region and on the adapter's release, and so does the number NN at its end.
        adapter_arn = cdk.CfnParameter(
            self,
            "AdapterLayerArn",
            description="arn:aws:lambda:REGION:753240598075:layer:LambdaAdapterLayerX86:NN",
            allowed_pattern="arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:layer:LambdaAdapterLayerX86:[0-9]+",
        )
        # /opt/extensions/lambda-adapter
        adapter = lambda_.LayerVersion.from_layer_version_arn(self, "Adapter", adapter_arn.value_as_string)
        # /opt/extensions/snapext, /opt/snapext
        snapext = lambda_.LayerVersion(
            self,
            "Snapext",
            code=lambda_.Code.from_asset(str(DIST / "snapext-layer.zip")),
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_12],
            compatible_architectures=[lambda_.Architecture.X86_64],
        )
        function = lambda_.Function(
            self,
            "App",
            code=lambda_.Code.from_asset(str(DIST / "fastapi-app.zip")),
            runtime=lambda_.Runtime.PYTHON_3_12,  # SnapStart needs 3.12 or later
            architecture=lambda_.Architecture.X86_64,
            handler="run.sh",  # the script that starts the server, not a Python name
            memory_size=1024,
            timeout=cdk.Duration.seconds(30),
            layers=[adapter, snapext],
            environment={
                # snapext's wrapper in place of the adapter's /opt/bootstrap: it starts run.sh with the hooks linked.
                "AWS_LAMBDA_EXEC_WRAPPER": "/opt/snapext/bootstrap",
                "AWS_LWA_PORT": "8000",  # where gunicorn listens
                # The adapter asks snapext, not the app, whether all is ready: so the hooks come before any request.
                "AWS_LWA_READINESS_CHECK_PORT": "9555",
                "AWS_LWA_INVOKE_MODE": "response_stream",  # goes with the URL's invoke_mode below
                "SNAPEXT_WORKERS": "2",  # run.sh starts so many, and snapext waits for so many
            },
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS,  # $LATEST has no snapshot, and no hook runs there
        )
        # current_version publishes a new version whenever the code or a setting has changed.
        live = lambda_.Alias(self, "Live", alias_name="live", version=function.current_version)
        url = live.add_function_url(
            auth_type=lambda_.FunctionUrlAuthType.AWS_IAM, invoke_mode=lambda_.InvokeMode.RESPONSE_STREAM
        )
        cdk.CfnOutput(self, "Url", value=url.url, description="The function URL of the alias live")


app = cdk.App()
AppStack(app, "SnapextFastapi")
app.synth()
