#!/usr/bin/env bash
# Runs Farscrape on this machine: a relay on the embedded store, an agent, and
# two targets behind it (the agent's own metrics, and the relay's, which nothing
# but the agent is told of). Scrapes through it and prints what came. Stays up
# and says what to try, unless --once.
set -euo pipefail
cd "$(dirname "$0")/.."

once=
case "${1-}" in
  --once) once=1 ;;
  '') ;;
  *) echo "usage: scripts/demo.sh [--once]" >&2; exit 2 ;;
esac
command -v go >/dev/null || { echo "demo: Go is needed: https://go.dev/dl" >&2; exit 1; }
command -v curl >/dev/null || { echo "demo: curl is needed" >&2; exit 1; }

dir=$(mktemp -d)
pids=()
finish() {
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The first port of three that are free from 18080 on.
base=18080
free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
until free $base && free $((base + 1)) && free $((base + 2)); do base=$((base + 3)); done
relay=127.0.0.1:$base ops=127.0.0.1:$((base + 1)) own=127.0.0.1:$((base + 2))

echo "demo: building"
go build -o "$dir/" ./relay/cmd/farscrape-relay ./agent/cmd/farscrape-agent

# await TEXT COMMAND…: until the command works, for ten seconds at most.
await() {
  local what=$1; shift
  for _ in $(seq 100); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  echo "demo: $what did not come up:" >&2
  cat "$dir"/*.log >&2
  exit 1
}

echo "demo: starting a relay on $relay and an agent that dials it"
# Without a key the relay makes one, and the tokens, in the cache folder.
export XDG_CACHE_HOME=$dir
tokens=$dir/farscrape/$base
FARSCRAPE_LISTEN=$relay FARSCRAPE_OPS_LISTEN=$ops "$dir/farscrape-relay" >"$dir/relay.log" 2>&1 &
pids+=($!)
await "the relay" curl -fsS "http://$relay/-/ready"
FARSCRAPE_NAME=demo FARSCRAPE_RELAY_URL=http://$relay FARSCRAPE_TOKEN_FILE="$tokens/agent.token" FARSCRAPE_LISTEN=$own \
  FARSCRAPE_TARGETS="relay=http://$ops/metrics" "$dir/farscrape-agent" >"$dir/agent.log" 2>&1 &
pids+=($!)
await "the agent" curl -fsS "http://$own/-/ready"

# The token goes by a file: an argument is everybody's to read.
printf 'header = "Authorization: Bearer %s"\n' "$(cat "$tokens/scraper.token")" >"$dir/curl"
ask() { curl -fsS -K "$dir/curl" "$@"; }
printf 'proxy-header = "Proxy-Authorization: Bearer %s"\n' "$(cat "$tokens/scraper.token")" >"$dir/curl-proxy"

echo
echo "demo: what Prometheus discovers:"
ask "http://$relay/sd" | sed 's/},{/},\n {/g'
for target in relay farscrape; do
  echo
  echo "demo: the first lines of http://$relay/scrape/demo/$target:"
  ask -w 'demo: %{http_code}, %{size_download} bytes in %{time_total} s\n' -o "$dir/body" "http://$relay/scrape/demo/$target"
  grep -m3 '^farscrape_' "$dir/body"
done
echo
echo "demo: the same target in proxy mode, as PushProx users have it:"
curl -fsS -K "$dir/curl-proxy" -x "http://$relay" -w 'demo: %{http_code}, %{size_download} bytes in %{time_total} s\n' -o /dev/null "http://demo:$((base + 1))/metrics"
echo
echo "demo: an agent that nobody knows:"
curl -sS -K "$dir/curl" -w 'demo: %{http_code}\n' "http://$relay/scrape/nobody/node"
if [ -n "$once" ]; then
  echo
  echo "demo: done"
  exit
fi
cat <<EOF

demo: it stays up until Ctrl-C. Try:

  curl -K $dir/curl http://$relay/scrape/demo/relay
  curl -K $dir/curl http://$relay/api/v1/agents
  curl http://$ops/metrics

or let a Prometheus scrape it:

  scrape_configs:
    - job_name: farscrape
      authorization: {type: Bearer, credentials_file: $tokens/scraper.token}
      http_sd_configs:
        - url: http://$relay/sd
          authorization: {type: Bearer, credentials_file: $tokens/scraper.token}

demo: the logs are $dir/relay.log and $dir/agent.log
EOF
wait
