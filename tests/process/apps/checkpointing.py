"""A Lambda runtime in Python, whose own process has the hooks: it calls snapext.checkpoint(), then asks for events.

CHECKPOINT=twice calls it once more, CHECKPOINT=command runs the command instead.
HOOK=raise:before or raise:after makes a hook fail, and what is caught is traced.
"""

import json
import os
import subprocess
import urllib.request

import tracing

import snapext
from snapext.errors import CheckpointError

RUNTIME = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime"


def fail():
    raise ValueError("the pool is gone")


if os.environ.get("HOOK", "").startswith("raise"):
    registers = {"before": snapext.register_before_snapshot, "after": snapext.register_after_restore}
    registers[os.environ["HOOK"].partition(":")[2]](fail)

try:
    for _ in range(2 if os.environ.get("CHECKPOINT") == "twice" else 1):
        if os.environ.get("CHECKPOINT") == "command":
            subprocess.run(["snapext", "checkpoint"], check=True)
        else:
            snapext.checkpoint()
        tracing.record("checkpoint", hook="checkpoint", restored=snapext.is_restored())
except CheckpointError as error:
    tracing.record("refused", hook="refused", message=str(error), exit_status=error.exit_status)
    raise SystemExit(error.exit_status) from error

while True:
    with urllib.request.urlopen(f"{RUNTIME}/invocation/next") as event:
        identifier = event.headers["Lambda-Runtime-Aws-Request-Id"]
        path = json.load(event)["rawPath"]
    answer = json.dumps({"statusCode": 200, "body": json.dumps(tracing.answer(path))}).encode()
    with urllib.request.urlopen(f"{RUNTIME}/invocation/{identifier}/response", answer):
        pass
