#!/usr/bin/env bash
# Installs what the tests need (Debian's packages, as root) and runs all of
# them, none skipped: under the race detector, in random order, and the fuzz
# targets for a moment each. The end-to-end tests run alone, since they are many
# processes, and once more as released, for what they measure: that is printed
# at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rig/packages.sh

out=$(mktemp)
trap 'rm -f "$out" "$out.fuzz" "$out.bench"' EXIT

packages redis-server redis-server \
  redis-sentinel redis-sentinel \
  prometheus prometheus \
  promtool prometheus \
  prometheus-node-exporter prometheus-node-exporter \
  nginx nginx-light \
  curl curl

export FARSCRAPE_TEST_REQUIRE=1

e2e=./scripts/e2e

echo "test: the packages, under the race detector"
go test -race -shuffle=on -timeout 15m $(go list ./... | grep -v /scripts/e2e)

echo "test: end to end, under the race detector"
go test -race -shuffle=on -count=1 -timeout 15m $e2e

echo "test: end to end, as released"
if ! go test -count=1 -v -timeout 15m $e2e >"$out" 2>&1; then
  grep -vE '^\s*(=== |--- PASS)' "$out"
  exit 1
fi
if grep -E '^\s*--- SKIP' "$out"; then
  echo "test: skipped, and must not be" >&2
  exit 1
fi
tail -1 "$out"

echo "test: the Go benchmarks run"
bench() { go test -run '^$' "$@" >"$out.bench" 2>&1 || { cat "$out.bench"; exit 1; }; }
bench -bench . -skip '^BenchmarkOrders$' -benchtime 20x ./...
bench -bench '^BenchmarkOrders$' -benchtime 1x ./store # each is a minute of a relay

# By number: with a time, Go's fuzzer now and then fails with "context deadline
# exceeded" as it stops, and has found nothing.
echo "test: fuzz targets, ${FUZZTIME:=50000x} each"
grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's#/[^/]+:[0-9]+:func # #' | sort -u | while read -r folder target; do
  go test "$folder" -run '^$' -fuzz "^$target\$" -fuzztime "$FUZZTIME" >"$out.fuzz" 2>&1 || { cat "$out.fuzz"; exit 1; }
  echo "ok  	$folder $target $(grep -oE 'execs: [0-9]+' "$out.fuzz" | tail -1)"
done

echo
echo "test: measured"
sed -nE 's/.*figure: /  /p' "$out"
