#!/usr/bin/env bash
# The fault campaign: a relay as somebody runs it, on this machine, with one
# thing after the other broken under load, and a row a fault on what it cost.
# scripts/faults.sh list names them; scripts/faults.sh -help says more.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v go >/dev/null || { echo "faults: Go is needed: https://go.dev/dl" >&2; exit 1; }

dir=$(mktemp -d) policy=
finish() {
  # What the campaign started is in its process group, whatever became of it.
  [ -z "${campaign-}" ] || kill -KILL -- "-$campaign" 2>/dev/null || true
  rm -rf "$dir" $policy
}
trap finish EXIT

# program and package
needs="redis-server redis-server
redis-sentinel redis-sentinel
haproxy haproxy"

has() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null; }
missing=$(while read -r program package; do has "$program" || echo "$package"; done <<<"$needs" | sort -u)
if [ -n "$missing" ]; then
  echo "faults: installing $(echo $missing)" >&2
  # No service of theirs starts: the campaign starts its own.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
  fi
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

go build -o "$dir/faults" ./scripts/faults
set -m # a process group of its own
"$dir/faults" "$@" &
campaign=$!
trap 'kill -TERM "$campaign" 2>/dev/null' INT TERM
status=0
wait "$campaign" || status=$?
while kill -0 "$campaign" 2>/dev/null; do # it was asked to stop, and cleans up
  wait "$campaign" || status=$?
done
exit "$status"
