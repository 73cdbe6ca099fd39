#!/bin/bash
# A runtime in bash around the tracing server, in the manner of examples/shell_runtime. $1 is what it does for a
# checkpoint: a command line. What that says, and its status, is left in $TRACE_FILE.checkpoint. SERVER is another
# server's command line, AFTER what is done between the checkpoint and the first invocation.
set -u
runtime=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
app=http://127.0.0.1:$PORT

eval "${SERVER:-python tracing_http_server.py} &"
until curl --silent --fail --output /dev/null "$app/ready"; do
  kill -0 $! 2>/dev/null || exit 1
  sleep 0.02
done

bash -c "$1" >"$TRACE_FILE.checkpoint" 2>&1
status=$?
echo "status $status" >>"$TRACE_FILE.checkpoint"
[ "$status" -eq 0 ] || exit "$status"
eval "${AFTER:-}"

headers=$(mktemp)
trap 'rm -f "$headers"' EXIT
while event=$(curl --silent --dump-header "$headers" "$runtime/invocation/next"); do
  id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\([^[:space:]]*\).*/\1/Ip' "$headers")
  path=$(printf %s "$event" | sed -n 's/.*"rawPath": *"\([^"]*\)".*/\1/p')
  body=$(curl --silent "$app$path")
  escaped=$(printf %s "$body" | sed 's/["\\]/\\&/g')
  curl --silent --output /dev/null --data-binary "{\"statusCode\": 200, \"body\": \"$escaped\"}" \
    "$runtime/invocation/$id/response"
done
