#!/usr/bin/env bash
# The attacks: a relay as somebody runs it, on this machine, and everything bad
# that we know of, one row each: what came of it, and what others noticed of it.
# scripts/attacks.sh list names them; scripts/attacks.sh -help says more.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v go >/dev/null || { echo "attacks: Go is needed: https://go.dev/dl" >&2; exit 1; }
command -v redis-server >/dev/null || { echo "attacks: redis-server is needed: apt-get install redis-server" >&2; exit 1; }

dir=$(mktemp -d)
finish() {
  # What the campaign started is in its process group, whatever became of it.
  [ -z "${attacks-}" ] || kill -KILL -- "-$attacks" 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT

go build -o "$dir/attacks" ./scripts/attacks
ulimit -n "$(ulimit -Hn)"
set -m # a process group of its own
"$dir/attacks" "$@" &
attacks=$!
trap 'kill -TERM "$attacks" 2>/dev/null' INT TERM
status=0
wait "$attacks" || status=$?
while kill -0 "$attacks" 2>/dev/null; do # it was asked to stop, and cleans up
  wait "$attacks" || status=$?
done
exit "$status"
