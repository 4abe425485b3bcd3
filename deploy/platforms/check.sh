#!/usr/bin/env bash
# Checks the manifests here: each by its platform's own types, where a Go module
# has them, and against the relay and the platform's limits. No platform is
# reached. Needs Go.
set -euo pipefail
cd "$(dirname "$0")"

# Of this module only the description of Cloud Run's API is read.
google_api=google.golang.org/api@v0.230.0

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

(cd ../.. && go run ./relay/cmd/farscrape-relay -help) >"$dir/help"
module=$(cd / && go mod download -json "$google_api" | sed -nE 's/^\s*"Dir": "(.*)",?$/\1/p')
cd check
go run . .. "$dir/help" "$module/run/v1/run-api.json"
