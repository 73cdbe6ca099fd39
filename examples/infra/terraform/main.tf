# FastAPI under gunicorn behind the Lambda Web Adapter, with SnapStart hooks in every worker (snapext).

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.80" # SnapStart for Python
    }
  }
}

variable "adapter_layer_arn" {
  type        = string
  description = "arn:aws:lambda:REGION:753240598075:layer:LambdaAdapterLayerX86:NN"
  # No default: it depends on your region and on the adapter's release, and so does the number NN at its end.
  validation {
    condition     = can(regex("^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:layer:LambdaAdapterLayerX86:[0-9]+$", var.adapter_layer_arn))
    error_message = "The ARN of a version of LambdaAdapterLayerX86 in the provider's region is needed."
  }
}

locals {
  dist = "${path.module}/../../../dist" # what package.sh has made
}

# /opt/extensions/snapext, /opt/snapext
resource "aws_lambda_layer_version" "snapext" {
  layer_name               = "snapext"
  filename                 = "${local.dist}/snapext-layer.zip"
  source_code_hash         = filebase64sha256("${local.dist}/snapext-layer.zip")
  compatible_runtimes      = ["python3.12"]
  compatible_architectures = ["x86_64"]
}

resource "aws_lambda_function" "app" {
  function_name    = "snapext-fastapi"
  role             = aws_iam_role.app.arn
  filename         = "${local.dist}/fastapi-app.zip"
  source_code_hash = filebase64sha256("${local.dist}/fastapi-app.zip")
  runtime          = "python3.12" # SnapStart needs 3.12 or later
  architectures    = ["x86_64"]
  handler          = "run.sh" # the script that starts the server, not a Python name
  memory_size      = 1024
  timeout          = 30
  publish          = true # a version with each change; only versions have snapshots

  layers = [
    var.adapter_layer_arn, # /opt/extensions/lambda-adapter
    aws_lambda_layer_version.snapext.arn,
  ]

  environment {
    variables = {
      # snapext's wrapper in place of the adapter's /opt/bootstrap: it starts run.sh too, with the hooks linked.
      AWS_LAMBDA_EXEC_WRAPPER = "/opt/snapext/bootstrap"
      AWS_LWA_PORT            = "8000" # where gunicorn listens
      # The adapter asks snapext, not the app, whether all is ready: so the hooks come before the first request.
      AWS_LWA_READINESS_CHECK_PORT = "9555"
      AWS_LWA_INVOKE_MODE          = "response_stream" # goes with the URL's invoke_mode below
      SNAPEXT_WORKERS              = "2"               # run.sh starts so many, and snapext waits for so many
    }
  }

  snap_start {
    apply_on = "PublishedVersions" # $LATEST has no snapshot, and no hook runs there
  }

  timeouts { # publishing takes as long as the snapshot: minutes
    create = "15m"
    update = "15m"
  }
}

resource "aws_lambda_alias" "live" {
  name             = "live"
  function_name    = aws_lambda_function.app.function_name
  function_version = aws_lambda_function.app.version
}

resource "aws_lambda_function_url" "live" {
  function_name      = aws_lambda_function.app.function_name
  qualifier          = aws_lambda_alias.live.name # without it the URL calls $LATEST, where no hook runs
  authorization_type = "AWS_IAM"
  invoke_mode        = "RESPONSE_STREAM"
}

resource "aws_iam_role" "app" {
  name = "snapext-fastapi"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "logs" {
  role       = aws_iam_role.app.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
}

output "url" {
  description = "The function URL of the alias live"
  value       = aws_lambda_function_url.live.function_url
}
