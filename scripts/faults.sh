#!/usr/bin/env bash
# The fault campaign: a relay as somebody runs it, on this machine, with one
# thing after the other broken under load, and a row a fault on what it cost.
# scripts/faults.sh list names them; scripts/faults.sh -help says more.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rig/packages.sh
. scripts/rig/campaign.sh

packages redis-server redis-server \
  redis-sentinel redis-sentinel \
  haproxy haproxy
campaign faults "$@"
