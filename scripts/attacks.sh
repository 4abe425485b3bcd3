#!/usr/bin/env bash
# The attacks: a relay as somebody runs it, on this machine, and everything bad
# that we know of, one row each: what came of it, and what others noticed of it.
# scripts/attacks.sh list names them; scripts/attacks.sh -help says more.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rig/packages.sh
. scripts/rig/campaign.sh

packages redis-server redis-server
campaign attacks "$@"
