#!/usr/bin/env bash
# Checks the units here with systemd-analyze: that systemd understands every line,
# and how much of the machine they leave open. Whether the programs run within
# that is not checked: it takes a systemd that runs. Installs Debian's systemd, as
# root, if it is missing; needs Go.
set -euo pipefail
cd "$(dirname "$0")"
. ../../scripts/rig/packages.sh
packages systemd-analyze systemd

# Of systemd-analyze's hundred points, where fewer is better. A unit that sets
# nothing has 96.
threshold=15

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
bad() { echo "check: $*" >&2; exit 1; }

(cd ../.. && go build -o "$dir/" ./relay/cmd/farscrape-relay ./agent/cmd/farscrape-agent)

for unit in farscrape-*.service; do
  # systemd-analyze wants the program to be there.
  sed "s#/usr/local/bin/#$dir/#" "$unit" >"$dir/$unit"
  said=$(systemd-analyze verify --man=no "$dir/$unit" 2>&1) || bad "$unit: $said"
  [ -z "$said" ] || bad "$unit: $said"
  score=$(systemd-analyze security --offline=yes --threshold=$threshold --no-pager "$dir/$unit" 2>&1) || bad "$unit is too open:
$(grep '^✗' <<<"$score")"

  # Variables that the program knows, and time for what it does when it is stopped.
  program=$dir/${unit%.service}
  "$program" -help >"$dir/help"
  for variable in $(grep -ohE 'FARSCRAPE_[A-Z_]+' "$unit" | sort -u); do
    grep -qE "^  $variable( |$)" "$dir/help" || bad "$unit: ${unit%.service} does not know $variable"
  done
  stop=$(sed -n 's/^TimeoutStopSec=//p' "$unit")
  drain=$(sed -nE 's/^  FARSCRAPE_DRAIN_TIMEOUT .*default ([0-9]+)s$/\1/p' "$dir/help")
  [ "$stop" -gt "$((${drain:-0} + 1))" ] || bad "$unit: TimeoutStopSec=$stop, and a drain takes $drain s and may take one more"
  echo "check: $unit: verified; exposure $(sed -nE 's/.*exposure level for [^:]*: ([0-9.]+).*/\1/p' <<<"$score") of 10"
done
