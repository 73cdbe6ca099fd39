#!/bin/sh
# A runtime of its own: the server in the background, the checkpoint, and then the first event.
cd "$LAMBDA_TASK_ROOT" || exit 1
"$E2E_BIN/gunicorn" -k uvicorn_worker.UvicornWorker -w "${SNAPEXT_WORKERS:-2}" -b "127.0.0.1:$PORT" app:app &
python3 - "$PORT" <<'PYTHON' || exit 1
import sys, time, urllib.request
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/ready", timeout=5)
        break
    except OSError:
        time.sleep(0.02)
else:
    sys.exit("the server does not answer")
PYTHON
/opt/bin/snapext checkpoint || exit
exec python3 -c '
import os, urllib.request
urllib.request.urlopen("http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/next").read()
'
