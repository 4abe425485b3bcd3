#!/usr/bin/env bash
# Follows our pages word by word: takes the commands and
# files out of the page and does what it says, as a reader would, in a machine of
# the page's own: network, names, ports and /etc are its own, so nothing is changed
# that stands there. The table of a page, scripts/pages/NAME.sh, has each of its
# blocks in turn and what is done with it; a block that is not in its table fails.
#
#   scripts/pages.sh [-one-by-one] [NAME]...
#
# Needs Linux, root and Go; installs Debian's packages that are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/rig/packages.sh

kustomize=v5.8.2 # as in deploy/kubernetes/check.sh
at_once=1
[ "${1-}" != -one-by-one ] || { at_once=; shift; }
[ "$(id -u)" = 0 ] || { echo "pages: root is needed, for namespaces" >&2; exit 1; }
command -v go >/dev/null || { echo "pages: Go is needed: https://go.dev/dl" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
packages ip iproute2 redis-server redis-server haproxy haproxy nginx nginx-light prometheus prometheus promtool prometheus \
  prometheus-node-exporter prometheus-node-exporter curl curl jq jq openssl openssl dnsmasq dnsmasq-base

dir=$(mktemp -d)
declare -A worlds=()
finish() {
  # A world's processes, interfaces and mounts go with its first process.
  [ ${#worlds[@]} -eq 0 ] || kill -KILL "${worlds[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$dir" # what runs as another user must come in

# Every page has its place in a table, and every table's page is there.
pages=$(git ls-files README.md 'deploy/*.md')
tables=$(sed -n 's/^page //p' scripts/pages/*.sh)
diff <(sort <<<"$pages") <(sort <<<"$tables") || { echo "pages: <, a page that no table of scripts/pages has; >, one that is not there" >&2; exit 1; }
names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(grep -l '^page ' scripts/pages/*.sh | xargs -n1 basename -s .sh)

go build -o "$dir/bin/" ./scripts/pages ./relay/cmd/farscrape-relay ./agent/cmd/farscrape-agent
case " ${names[*]} " in *" kubernetes "*) GOBIN=$dir/bin go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" ;; esac
GOCACHE=$(go env GOCACHE)
export GOCACHE

failed=()
await_worlds() {
  local i
  for i in "${!worlds[@]}"; do wait "${worlds[$i]}" || failed+=("$i"); done
  worlds=()
}
for name in "${names[@]}"; do
  mkdir "$dir/$name"
  # The page's own copy of the repository, which its commands may change.
  git ls-files -z | xargs -0 cp --parents -t "$dir/$name"
  unshare --net --mount --pid --fork --kill-child --mount-proc bash scripts/pages/world.sh "$dir" "$name" </dev/null &
  worlds[$name]=$!
  [ -n "$at_once" ] || await_worlds
done
await_worlds
[ ${#failed[@]} -eq 0 ] || { echo "pages: failed: ${failed[*]}" >&2; exit 1; }
echo "pages: ${#names[@]} tables done in $SECONDS s"
