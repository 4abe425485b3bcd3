#!/usr/bin/env bash
# The benchmark: Farscrape and what people use in its place, measured in turn in
# one run on this machine. scripts/bench.sh -help says more.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rig/packages.sh
. scripts/rig/campaign.sh

packages redis-server redis-server
campaign bench "$@"
