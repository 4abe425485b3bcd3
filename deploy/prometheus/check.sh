#!/usr/bin/env bash
# Checks what is here and the dashboard: rules, their tests and the example
# configuration with promtool; that each alert has its texts and a test; that
# each query of the dashboard is PromQL; and that every metric of ours, and every
# reason and the like, which rules and dashboard name is one of the Go sources.
#
# Needs promtool. With amtool it checks alertmanager.yaml as a whole, too.
set -euo pipefail
cd "$(dirname "$0")"

dashboard=../grafana/farscrape.json
repo=../..
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

bad() { echo "check: $*" >&2; exit 1; }
command -v promtool >/dev/null || bad "promtool is needed: it comes with Prometheus"

# each WHAT FUNCTION <LIST: the function holds for every line, of which there is
# at least one.
each() {
  local what=$1 failed='' n=0 line
  while read -r line; do
    n=$((n + 1))
    "$2" "$line" || { echo "check: $what: $line" >&2; failed=1; }
  done
  [ -z "$failed" ] || exit 1
  [ $n -gt 0 ] || bad "$what: nothing found to check"
}

# matches REGEXP FILE…: what matches, each once.
matches() { { grep -ohE "$@" || true; } | sort -u; }

echo "check: rules, and their tests"
promtool check rules rules.yaml
promtool test rules rules.test.yaml

# Each alert rule ends in its texts, and each alert is tested both ways. An alias
# stands for texts that are there already.
awk '
  function done() {
    if (alert != "" && (!severity || !summary || !description)) { print "check: no severity, summary or description: " alert; failed = 1 }
  }
  /^ *- (alert|record): / { done(); alert = $2 == "alert:" ? $3 : ""; severity = summary = description = 0 }
  /^ *severity: (critical|warning|info)$/ { severity = 1 }
  /^ *summary: ./ { summary = 1 }
  /^ *description: ./ { description = 1 }
  /^ *annotations: \*/ { summary = description = 1 }
  END { done(); exit failed }
' rules.yaml >&2
tested() {
  grep -qE "alertname: $1, .*exp_alerts: \[\]" rules.test.yaml && grep -qE -- "- alertname: $1\$" rules.test.yaml
}
alerts=$(sed -n 's/^ *- alert: //p' rules.yaml | sort -u)
each "this alert is not tested to fire and not to fire" tested <<<"$alerts"

echo "check: configurations"
# promtool wants to see the token's file, and the repository has none.
cp prometheus.yaml multi-target.yaml rules.yaml "$dir/"
: >"$dir/scraper.token"
promtool check config "$dir/prometheus.yaml"
promtool check config "$dir/multi-target.yaml"
has_job() { grep -qE "^ *- job_name: $1\$" prometheus.yaml; }
each "prometheus.yaml has no such job" has_job < <(matches 'job="[^"]*"' rules.yaml | cut -d'"' -f2)

if command -v amtool >/dev/null; then
  amtool check-config alertmanager.yaml
else
  echo "check: no amtool: of alertmanager.yaml only the alerts' names are checked"
fi
is_alert() { grep -qxF "$1" <<<"$alerts"; }
each "alertmanager.yaml names no alert of ours" is_alert < <(matches 'Farscrape[A-Za-z]+' alertmanager.yaml)

echo "check: the dashboard"
if command -v jq >/dev/null; then
  jq -e . "$dashboard" >/dev/null || bad "$dashboard is no JSON"
elif command -v python3 >/dev/null; then
  python3 -m json.tool "$dashboard" >/dev/null || bad "$dashboard is no JSON"
else
  echo "check: neither jq nor python3: only its queries are checked"
fi
# Its queries as rules that promtool parses.
bash ../grafana/queries.sh >"$dir/queries"
awk 'BEGIN { print "groups:\n  - name: panels\n    rules:" }
  { printf "      - record: panel:%d\n        expr: |\n          %s\n", NR, $0 }' "$dir/queries" >"$dir/panels.yaml"
promtool check rules "$dir/panels.yaml" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; bad "panel:N is the N-th query of $dashboard"; }

echo "check: the metrics exist"
# in_go REGEXP FILE…: in what the program is made of, tests left out.
in_go() { grep -rqE --include='*.go' --exclude='*_test.go' "$@"; }
# made NAME: Go makes the metric, by its whole name or by the parts that the
# four places with a prefix join it from.
made() {
  in_go "\"$1\"" "$repo/relay" "$repo/edge" "$repo/store" && return
  case $1 in
    farscrape_*_web_config_* | farscrape_relay_certificate_* | farscrape_relay_tls_*)
      in_go "opts\(\"${1#farscrape_*_}\"" "$repo/relay/webconfig" ;;
    farscrape_relay_build_info | farscrape_agent_build_info)
      in_go 'versioncollector.NewCollector\("farscrape_"' "$repo/relay/settings" ;;
    farscrape_agent_*)
      in_go "((counter|gauge)\(|Name: +)\"${1#farscrape_agent_}\"" "$repo/agent" ;;
    farscrape_directory_agent_*)
      in_go "desc\(\"${1#farscrape_directory_agent_}\"" "$repo/edge" ;;
    *) false ;;
  esac
}
exists() {
  made "$1" && return
  case $1 in # a histogram's series
    *_bucket | *_sum | *_count) made "${1%_*}" ;;
    *) false ;;
  esac
}
each "no such metric in the Go sources" exists < <(matches '\bfarscrape_[a-zA-Z0-9_]+' rules.yaml rules.test.yaml "$dashboard")
# What a label must be there: a reason that was renamed would make a rule silent.
in_sources() { in_go "\"$1\"" "$repo/relay" "$repo/edge" "$repo/store"; }
each "no such reason, cause, result or store in the Go sources" in_sources < <(
  matches '\b(reason|cause|result|store)=~?"[^"]+"' rules.yaml "$dir/queries" | cut -d'"' -f2 | tr '|' '\n')
recorded() { grep -qE "^ *- record: $1\$" rules.yaml; }
each "no rule records" recorded < <(matches '\bfarscrape:[a-zA-Z0-9_:]+' rules.yaml rules.test.yaml "$dashboard")

echo "check: all is well, $(wc -l <<<"$alerts") alerts and $(wc -l <"$dir/queries") queries"
