#!/bin/sh
cd "$LAMBDA_TASK_ROOT" || exit 1
exec "$E2E_BIN/gunicorn" -k uvicorn_worker.UvicornWorker -w "${SNAPEXT_WORKERS:-2}" -b "127.0.0.1:$PORT" app:app
