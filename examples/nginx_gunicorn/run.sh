#!/bin/bash
# nginx in front of gunicorn. gunicorn's workers have hooks and are on snapext's socket; nginx knows nothing of snapext,
# so this script takes the signal for it. Set SNAPEXT_SIGNALS=1.
set -u
cd "$(dirname "$0")" || exit
folder=$(mktemp -d) || exit
chmod 755 "$folder" # nginx's workers may be another user's
sed "s|@PORT@|${PORT:-8080}|; s|@FOLDER@|$folder|" nginx.conf >"$folder/nginx.conf" || exit
nginx=(nginx -p "$folder" -c nginx.conf -e stderr)
children=()

after_restore() { # a new worker takes over, with no connection and no looked-up name from before the snapshot
  if "${nginx[@]}" -s reload; then
    snapext 'done'
  else
    snapext 'done' --failed "nginx does not reload"
  fi
}
trap after_restore RTMIN+5
trap 'kill "${children[@]}" 2>/dev/null' TERM

all_run() {
  for child in "${children[@]}"; do kill -0 "$child" 2>/dev/null || return; done
}

gunicorn --workers 2 --bind "unix:$folder/app.sock" app:app &
children+=($!)
while all_run && ! [ -S "$folder/app.sock" ]; do sleep 0.05; done
"${nginx[@]}" &
children+=($!)

# A trap interrupts `wait`. While a command ran in the foreground, it would have to wait for that command's end.
while all_run; do wait -n "${children[@]}"; done
kill "${children[@]}" 2>/dev/null # one without the other serves nobody
wait
rm -r "$folder"
