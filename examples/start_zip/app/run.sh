#!/bin/bash
PATH=$PATH:$LAMBDA_TASK_ROOT/bin
exec python -m uvicorn --workers 2 --port="$PORT" main:app
