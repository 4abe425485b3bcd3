#!/usr/bin/env bash
# Checks what is here: renders each overlay, example and base with Kustomize, and
# each component on a base of its own; has each object checked against the schemas
# of the oldest Kubernetes that it is for and of a recent one, of the Gateway API,
# the Prometheus Operator and Istio; then checks what no schema knows (selectors,
# ports, secrets, our variables, grace periods, rules), and runs a relay and agents
# on this machine with the environments that the manifests give them.
#
#   check.sh          checks
#   check.sh -write   makes the PrometheusRule of ../prometheus/rules.yaml
#
# Needs Go. Tools and schemas come from the Go module proxy, once.
set -euo pipefail
cd "$(dirname "$0")"

kustomize=v5.8.2          # sigs.k8s.io/kustomize/kustomize/v5
validate=v0.0.4           # sigs.k8s.io/kubectl-validate
oldest=1.30               # as it is built into kubectl-validate
recent=v1.36.3            # k8s.io/kubernetes
gateway=v1.6.3            # sigs.k8s.io/gateway-api
operator=v0.85.0          # github.com/prometheus-operator/prometheus-operator
istio=v1.24.2             # istio.io/api
rules=components/prometheus-operator/rules.yaml

bad() { echo "check: $*" >&2; exit 1; }

case "${1-}" in
  -write)
    {
      echo '# Made of deploy/prometheus/rules.yaml by check.sh -write: change that.'
      printf 'apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: farscrape\nspec:\n'
      sed -n '/^groups:/,$p' ../prometheus/rules.yaml | sed 's/^\(.\)/  \1/'
    } >"$rules"
    exit
    ;;
  '') ;;
  *) echo "usage: check.sh [-write]" >&2; exit 2 ;;
esac
command -v go >/dev/null || bad "Go is needed: https://go.dev/dl"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# tool MODULE VERSION: builds its command, once, and prints where it is.
tool() {
  local bin=${XDG_CACHE_HOME:-$HOME/.cache}/farscrape/tools/${1//\//+}@$2
  if [ ! -d "$bin" ]; then
    rm -rf "$bin.new"
    (cd "$dir" && GOBIN=$bin.new go install "$1@$2") >"$dir/out" 2>&1 || { cat "$dir/out" >&2; bad "$1@$2 does not build"; }
    mv "$bin.new" "$bin"
  fi
  echo "$bin"/*
}

# module PATH VERSION: downloads it, once, and prints where its files are.
module() {
  (cd "$dir" && go mod download -json "$1@$2") >"$dir/out" 2>&1 || { cat "$dir/out" >&2; bad "$1@$2 is not to be had"; }
  sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' "$dir/out"
}

echo "check: tools and schemas"
kustomize=$(tool sigs.k8s.io/kustomize/kustomize/v5 "$kustomize")
validate=$(tool sigs.k8s.io/kubectl-validate "$validate")
mkdir -p "$dir/crds" "$dir/schemas/api" "$dir/rendered"
at=$(module sigs.k8s.io/gateway-api "$gateway")
cp "$at"/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml "$dir/crds/"
at=$(module github.com/prometheus-operator/prometheus-operator "$operator")
cp "$at"/example/prometheus-operator-crd/monitoring.coreos.com_{podmonitors,prometheusrules,scrapeconfigs}.yaml "$dir/crds/"
at=$(module istio.io/api "$istio")
cp "$at"/kubernetes/customresourcedefinitions.gen.yaml "$dir/crds/istio.yaml"
at=$(module k8s.io/kubernetes "$recent")/api/openapi-spec/v3
cp "$at/api__v1_openapi.json" "$dir/schemas/api/v1.json"
for file in "$at"/apis__*__v*_openapi.json; do # apis__GROUP__VERSION_openapi.json
  IFS=/ read -r _ group version <<<"$(basename "$file" _openapi.json | sed 's/__/\//g')"
  mkdir -p "$dir/schemas/apis/$group"
  cp "$file" "$dir/schemas/apis/$group/$version.json"
done
chmod -R u+w "$dir" # modules are read-only

echo "check: Kustomize renders it"
# render NAME FOLDER. It warns of what it will not take in a later version.
render() {
  "$kustomize" build "$2" >"$dir/rendered/$1.yaml" 2>"$dir/out" || { cat "$dir/out" >&2; bad "$2 does not render"; }
  [ ! -s "$dir/out" ] || { cat "$dir/out" >&2; bad "$2 renders with a warning"; }
}
for folder in base agent overlays/* examples/*; do
  render "${folder//\//-}" "$folder"
done
# Each component by itself, whether an overlay has it or not; the side-car needs an
# app, which its example has.
here=$(realpath --relative-to "$dir/alone" .)
for component in components/*; do
  [ "$component" != components/sidecar ] || continue
  mkdir -p "$dir/alone"
  cat >"$dir/alone/kustomization.yaml" <<EOF
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: farscrape
resources: [$here/base]
components: [$here/$component]
EOF
  render "${component//\//-}" "$dir/alone"
done
# What is no piece of any of these is forgotten.
listed() { grep -rqE --include=kustomization.yaml "(^|[^a-z])$(basename "$1")([^a-z]|$)" "$(dirname "$1")"; }
while read -r file; do
  listed "$file" || bad "no kustomization.yaml lists $file"
done < <(find base agent components overlays examples -type f ! -name kustomization.yaml)

# valid WHAT ARGUMENT…: by the schemas that the arguments choose. What it finds
# goes to one stream and the file's name to the other.
valid() {
  local what=$1; shift
  echo "check: objects are valid for $what"
  "$validate" "$dir"/rendered/*.yaml --version "$oldest" --local-crds "$dir/crds" "$@" >"$dir/out" 2>&1 || {
    for file in "$dir"/rendered/*.yaml; do
      "$validate" "$file" --version "$oldest" --local-crds "$dir/crds" "$@" >"$dir/out" 2>&1 || { grep -vE '^$|^Error: validation failed$' "$dir/out" >&2; }
    done
    bad "not valid for $what"
  }
}
valid "Kubernetes $oldest"
valid "Kubernetes $recent" --local-schemas "$dir/schemas"

echo "check: objects fit one another, the commands, the rules and the README"
(
  cd ../..
  go build -o "$dir/" ./relay/cmd/farscrape-relay ./agent/cmd/farscrape-agent
  go build -o "$dir/check" ./deploy/kubernetes/check
)
"$dir/check" -relay "$dir/farscrape-relay" -agent "$dir/farscrape-agent" -rules ../prometheus/rules.yaml -readme README.md \
  relations "$dir"/rendered/*.yaml || bad "see above"

echo "check: it runs"
"$dir/check" -relay "$dir/farscrape-relay" -agent "$dir/farscrape-agent" \
  run "$dir"/rendered/{overlays-gateway-operator,examples-sidecar,examples-namespace-agent}.yaml || bad "see above"

echo "check: all is well, $(grep -ch '^kind:' "$dir"/rendered/*.yaml | awk '{ n += $1 } END { print n }') objects in $(ls "$dir/rendered" | wc -l) renderings"
