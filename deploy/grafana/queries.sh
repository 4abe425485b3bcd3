#!/usr/bin/env bash
# Prints the dashboard's queries, one a line, with Grafana's variables filled in.
set -euo pipefail
cd "$(dirname "$0")"

queries=$(sed -n 's/^ *"expr": "\(.*\)",\{0,1\}$/\1/p' farscrape.json |
  sed -e 's/\\"/"/g; s/\\n/ /g; s/\\\\/\\/g' -e 's/\$__rate_interval/5m/g; s/\$__interval/5m/g; s/\$job/.+/g')
[ "$(wc -l <<<"$queries")" = "$(grep -c '"refId": "[A-Z]"' farscrape.json)" ] ||
  { echo "queries: farscrape.json has a query that is not on a line of its own" >&2; exit 1; }
if grep -nF '$' <<<"$queries" >&2; then
  echo "queries: this script does not know the variable" >&2
  exit 1
fi
echo "$queries"
