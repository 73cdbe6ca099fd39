#!/bin/sh
# The function's handler: /opt/snapext/bootstrap starts this file in place of Lambda's own runtime client.
# Only what a gunicorn on any machine gets: the hooks come by PYTHONPATH, which the wrapper has set.
#
# -w: the same number that snapext waits for, so that no worker can miss the snapshot.
# --no-control-socket: gunicorn would put it into the home folder, which is read-only on Lambda.
exec python3 -m gunicorn -k uvicorn_worker.UvicornWorker -w "${SNAPEXT_WORKERS:-1}" \
  -b "127.0.0.1:${AWS_LWA_PORT:-8000}" --no-control-socket app:app
