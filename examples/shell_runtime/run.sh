#!/bin/bash
# A Lambda runtime in bash: it starts a web server of its own, and hands each invocation to it with curl.
set -u
cd "$(dirname "$0")" || exit
runtime=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
app=http://127.0.0.1:${PORT:=8080}
export PORT

python3 server.py &
until curl --silent --fail --output /dev/null "$app/"; do
  kill -0 $! 2>/dev/null || exit 1 # the server has ended: so does init
  sleep 0.05
done

# The snapshot is taken, and in each clone restored, inside this one line. When a hook fails, nothing is ever served.
snapext checkpoint || exit

# Files, and not variables: a command's argument holds 128 KB, an event 6 MB.
folder=$(mktemp -d) || exit
cd "$folder" || exit
while curl --silent --show-error --fail --dump-header headers --output event "$runtime/invocation/next"; do
  id=$(sed -n 's/^Lambda-Runtime-Aws-Request-Id: *\([^[:space:]]*\).*/\1/Ip' headers)
  if curl --silent --show-error --fail --data-binary @event --output answer "$app/invocation"; then
    curl --silent --output /dev/null --data-binary @answer "$runtime/invocation/$id/response"
  else
    curl --silent --output /dev/null --header 'Lambda-Runtime-Function-Error-Type: Runtime.ServerFailed' \
      --data '{"errorType": "Runtime.ServerFailed", "errorMessage": "the server gave no answer"}' \
      "$runtime/invocation/$id/error"
  fi
done
