# Sourced by the scripts that run one of the programs beside this folder.

# campaign NAME ARGUMENT…: builds scripts/NAME and runs it in a process group of its
# own, so that nothing it started outlives it, whatever becomes of it; exits as it
# does.
campaign() {
  local name=$1 status=0
  shift
  command -v go >/dev/null || { echo "$name: Go is needed: https://go.dev/dl" >&2; exit 1; }
  built=$(mktemp -d) group=
  trap '[ -z "$group" ] || kill -KILL -- "-$group" 2>/dev/null || true; rm -rf "$built"' EXIT
  go build -o "$built/$name" "./scripts/$name"
  ulimit -n "$(ulimit -Hn)"
  set -m
  "$built/$name" "$@" &
  group=$!
  trap 'kill -TERM "$group" 2>/dev/null' INT TERM
  wait "$group" || status=$?
  while kill -0 "$group" 2>/dev/null; do # it was asked to stop, and cleans up
    wait "$group" || status=$?
  done
  exit "$status"
}
