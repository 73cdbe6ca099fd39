#!/bin/sh
# A runtime that goes first: it asks for its first event while the server still starts.
cd "$LAMBDA_TASK_ROOT" || exit 1
"$E2E_BIN/gunicorn" -k uvicorn_worker.UvicornWorker -w "${SNAPEXT_WORKERS:-2}" -b "127.0.0.1:$PORT" app:app &
exec python3 -c '
import os, urllib.request
urllib.request.urlopen("http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/next").read()
'
