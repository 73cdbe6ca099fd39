"""A template that snapext can be attached to, the patch that does it, and the commands that write and print it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

TEMPLATE = """\
# the app
Transform: AWS::Serverless-2016-10-31
Description: >
  two
  lines

Globals:
  Function: {Timeout: 10}

Resources:
  App:
    Type: AWS::Serverless::Function   # a note
    Properties:
      CodeUri:   app/
      Handler: run.sh
      Runtime: python3.12
      Architectures: ['arm64']
      Environment:
        Variables:
          PORT: 8000   # where it listens
          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap
      Layers:
      - !Sub arn:aws:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerArm64:24

      # behind the layers

  Table:
    Type: AWS::DynamoDB::Table
"""
PATCH = """\
--- template.yaml
+++ template.yaml
@@ -6,6 +6,11 @@
·
 Globals:
   Function: {Timeout: 10}
+
+Parameters:
+  SnapextLayerArn:
+    Type: String
+    Description: arn:aws:lambda:REGION:ACCOUNT:layer:snapext:NN, of snapext layer publish
·
 Resources:
   App:
@@ -18,8 +23,15 @@
       Environment:
         Variables:
           PORT: 8000   # where it listens
-          AWS_LAMBDA_EXEC_WRAPPER: /opt/bootstrap
+          AWS_LWA_READINESS_CHECK_PORT: "9555"
+          SNAPEXT_WORKERS: "2"
+          AWS_LAMBDA_EXEC_WRAPPER: /opt/snapext/bootstrap
+      SnapStart:
+        ApplyOn: PublishedVersions
+      AutoPublishAlias: live
+      AutoPublishAliasAllProperties: true
       Layers:
+      - !Ref SnapextLayerArn
       - !Sub arn:aws:lambda:${AWS::Region}:753240598075:layer:LambdaAdapterLayerArm64:24
·
       # behind the layers
""".replace("·", " ")


def lay_out(folder: Path) -> None:
    """The template and its script."""
    (folder / "app").mkdir()
    (folder / "app" / "run.sh").write_text("#!/bin/sh\nexec gunicorn -w 2 -b :8000 app:app\n")
    (folder / "app" / "run.sh").chmod(0o755)
    (folder / "app" / "app.py").write_text("from snapext import register_after_restore\n")
    (folder / "template.yaml").write_text(TEMPLATE)


def run(command, *words):
    """The exit status and both outputs of a command."""
    done = CliRunner().invoke(command, list(words))
    return done.exit_code, done.stdout, done.stderr
