#!/usr/bin/env bash
# The benchmark: Farscrape and what people use in its place, measured in turn in
# one run on this machine. scripts/bench.sh -help says more.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v go >/dev/null || { echo "bench: Go is needed: https://go.dev/dl" >&2; exit 1; }
command -v redis-server >/dev/null || { echo "bench: redis-server is needed: apt-get install redis-server" >&2; exit 1; }

dir=$(mktemp -d)
finish() {
  # What the benchmark started is in its process group, whatever became of it.
  [ -z "${bench-}" ] || kill -KILL -- "-$bench" 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT

go build -o "$dir/bench" ./scripts/bench
ulimit -n "$(ulimit -Hn)"
set -m # a process group of its own
"$dir/bench" "$@" &
bench=$!
trap 'kill -TERM "$bench" 2>/dev/null' INT TERM
status=0
wait "$bench" || status=$?
while kill -0 "$bench" 2>/dev/null; do # it was asked to stop, and cleans up
  wait "$bench" || status=$?
done
exit "$status"
