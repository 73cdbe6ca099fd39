#!/bin/bash
# Handlers in bash. $1: how they say that they are done. $2, $3: the two signals.
how=$1

say() { # one line of the trace, see tracing.py
  local uptime
  read -r uptime _ </proc/uptime
  echo "{\"pid\": $$, \"phase\": \"$1\", \"hook\": \"$1\", \"at_ns\": ${uptime/./}0000000}" >>"$TRACE_FILE"
}

handle() {
  say "$1"
  case $how in
    done) snapext done ;;
    pipe) echo $$ >"${SNAPEXT_SOCKET%/*}/done" ;;
    failed) snapext done --failed "no database" ;;
    failed-pipe) echo "$$ failed no database" >"${SNAPEXT_SOCKET%/*}/done" ;;
    exit) exit 3 ;;
    junk) junk; echo $$ >"${SNAPEXT_SOCKET%/*}/done" ;;
    never) ;;
  esac
}

junk() { # binary, a megabyte without an end of line, lines that mean nothing, processes that nobody knows
  local pipe=${SNAPEXT_SOCKET%/*}/done
  head -c 10000 /dev/urandom >"$pipe"
  head -c 1000000 /dev/zero | tr '\0' x >"$pipe"
  printf '\n\n-1\n1e3\n%s\n%s failed\n99999999999999\n$(id)\n' 1 4194305 >"$pipe"
}

trap 'handle before_snapshot' "${2:-RTMIN+4}"
trap 'handle after_restore' "${3:-RTMIN+5}"
sleep 1000 & # a shell runs its traps while it waits for somebody in the background
say up
while kill -0 $! 2>/dev/null; do wait $!; done
