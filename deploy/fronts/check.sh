#!/usr/bin/env bash
# Checks the configurations here, and runs those that run on a plain machine:
# nginx, HAProxy (which ends TLS, and which does not: tcp) and Caddy (built from its module), each as shipped but for addresses, with two relays, a
# Redis and an agent behind it, on the loopback. A line of figures for each.
# Envoy's is checked against Envoy's own protobufs: no package has the program.
#
#   deploy/fronts/check.sh [nginx|haproxy|tcp|caddy|envoy]...
#
# Needs Go; installs Debian's packages that are missing, as root.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin
. ../../scripts/rig/packages.sh

fronts=(nginx haproxy caddy envoy tcp)
[ $# -eq 0 ] || fronts=("$@")
packages nginx nginx-light haproxy haproxy redis-server redis-server curl curl openssl openssl

# Debian's, 2.6.2, makes a whole body of a broken one.
caddy_version=v2.11.9

front=all
header=send-proxy-v2 # of the tcp front
dir=$(mktemp -d)
chmod 755 "$dir" # nginx's workers are another user
declare -A pid=()
finish() {
  local code=$?
  rm -f "$dir/go"
  if [ $code -ne 0 ]; then tail -n 5 "$dir"/*.log >&2 2>/dev/null || true; fi
  stop "${!pid[@]}"
  wait
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bad() { echo "check: $front: $*" >&2; exit 1; }

# start NAME COMMAND…: in the background, with its log.
start() {
  local name=$1; shift
  "$@" >>"$dir/$name.log" 2>&1 &
  pid[$name]=$!
}

# stop NAME…: asks them to end, and waits until they have.
stop() {
  for name; do kill "${pid[$name]}" 2>/dev/null || true; done
  for name; do wait "${pid[$name]}" 2>/dev/null || true; unset "pid[$name]"; done
}

# await WHAT COMMAND…: until it works, for a minute at most: an agent that is
# refused may wait for half of one.
await() {
  local what=$1; shift
  for _ in $(seq 600); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  bad "not within 60 s: $what"
}

# Ports: the first ten in a row that are free.
base=21000
free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
all_free() { for p in $(seq "$base" $((base + 9))); do free "$p" || return 1; done; }
until all_free; do base=$((base + 10)); done
at() { echo "127.0.0.1:$((base + $1))"; }
redis=$(at 0) relay1=$(at 1) relay2=$(at 2) ops1=$(at 3) ops2=$(at 4) target=$(at 5) own=$(at 6)
https=$((base + 7)) http=$((base + 8))
url=https://localhost:$https

# configure: the front's file, with this machine's addresses and fewer descriptors,
# which a container may not raise; and with links cut
# after 10 s of silence, where the file has a time for that: they live on only if
# the relay's pings pass.
configure() {
  local file=$1
  sed -e "s#relay-1.internal:8080#$relay1#g; s#relay-2.internal:8080#$relay2#g" \
    -e "s#/etc/farscrape/tls#$dir#g; s#relay\.example\.com#localhost#g" \
    -e "s#listen 443 ssl#listen 127.0.0.1:$https ssl#; s#bind :443#bind 127.0.0.1:$https#" \
    -e 's#^\( *proxy_\(read\|send\)_timeout\) 1h;#\1 10s;#; s#^\( *timeout tunnel\) 1h#\1 10s#' \
    -e '/^worker_rlimit_nofile/d; s#^\( *worker_connections\) 30000#\1 1000#; s#^\( *maxconn\) 30000#\1 1000#' "$file" >"$dir/$file"
  case $front in
    # From another address than the agent's, so that who it is shows.
    tcp) sed -i "s#default-server send-proxy-v2#default-server source 127.0.0.9 $header#" "$dir/$file" ;;
    nginx) sed -i "1i pid $dir/nginx.pid;\nerror_log stderr crit;" "$dir/$file" ;;
    # Caddy would ask a public CA for the certificate.
    caddy)
      sed -i "s#^localhost {#&\n\ttls $dir/relay.crt $dir/relay.key#" "$dir/$file"
      sed -i "0,/^{/s##{\n\tadmin off\n\thttp_port $http\n\thttps_port $https\n\tdefault_bind 127.0.0.1\n\tskip_install_trust#" "$dir/$file"
      ;;
  esac
}

# validate: the front's own check of its file.
validate() {
  case $front in
    nginx) configure nginx.conf; nginx -q -t -c "$dir/nginx.conf" ;;
    haproxy) configure haproxy.cfg; haproxy -c -q -f "$dir/haproxy.cfg" ;;
    tcp) configure haproxy-tcp.cfg; haproxy -c -q -f "$dir/haproxy-tcp.cfg" ;;
    caddy) configure Caddyfile; HOME=$dir "$dir/caddy" validate --adapter caddyfile --config "$dir/Caddyfile" ;;
    envoy) (cd envoycheck && go run . ../envoy.yaml) ;;
    *) bad "no such front" ;;
  esac >"$dir/validate.log" 2>&1 || bad "its own check fails"
}

run_front() {
  case $front in
    nginx) start front nginx -g 'daemon off;' -c "$dir/nginx.conf" ;;
    haproxy) start front haproxy -db -f "$dir/haproxy.cfg" ;;
    tcp) start front haproxy -db -f "$dir/haproxy-tcp.cfg" ;;
    caddy) HOME=$dir start front "$dir/caddy" run --adapter caddyfile --config "$dir/Caddyfile" ;;
  esac
}

run_relay() { # N [VARIABLE=…]...
  local listen=relay$1 ops=ops$1
  FARSCRAPE_LISTEN=${!listen} FARSCRAPE_OPS_LISTEN=${!ops} FARSCRAPE_REDIS_URL=redis://$redis FARSCRAPE_KEY_FILE=$dir/key \
    FARSCRAPE_PUBLIC_URL=$url FARSCRAPE_SD_GRACE=1s start "relay$1" env "${@:2}" "$dir/farscrape-relay"
  await "replica $1 is ready" curl -fsS "http://${!ops}/-/ready"
}

run_agent() { # NAME RELAY_URL
  FARSCRAPE_RELAY_URL=$2 FARSCRAPE_TLS_CA_FILE=$dir/relay.crt FARSCRAPE_TOKEN_FILE=$dir/$1.token FARSCRAPE_LISTEN=$own \
    FARSCRAPE_TARGETS="metrics=http://$target/metrics,small=http://$target/small,slow=http://$target/slow,breaks=http://$target/breaks" \
    start agent "$dir/farscrape-agent"
}

# each METRIC: its sum on each replica.
each() {
  for ops in "$ops1" "$ops2"; do
    curl -fsS -m 2 "http://$ops/metrics" | awk -v name="$1" '{sub(/[{].*/, "", $1)} $1 == name {n += $NF} END {print n + 0}'
  done | paste -sd ' '
}
unlinked() { [ "$(each farscrape_relay_links)" = "0 0" ]; }
linked() { [ "$(each farscrape_relay_links)" = "1 1" ]; }
closed_on_2() { each farscrape_relay_links_closed_total | cut -d' ' -f2; }

# ask PATH: the status, curl's exit code and our reason; the body is in a file.
ask() { curl -sg -m 20 -K "$dir/curl" -w '%{http_code} %{exitcode} %header{farscrape-error}' -o "$dir/body" "$url$1" || true; }
answers() { [ "$(ask /-/ready)" = "200 0 " ]; }
offline() { [ "$(curl -s -K "$dir/curl" -o /dev/null -w '%header{farscrape-error}' "http://$relay2/scrape/gone/small")" = agent_offline ]; }

# whole: the body ends in the sum of the rest of it.
whole() { [ "$(head -n -1 "$dir/body" | sha256sum | cut -d' ' -f1)" = "$(tail -n 1 "$dir/body" | sed 's/# sum //')" ]; }

# shares: how many of 30 scrapes came to each replica.
shares() {
  local before after
  read -ra before <<<"$(each farscrape_relay_scrapes_total)"
  for _ in $(seq 30); do ask /scrape/demo/small >/dev/null; done
  read -ra after <<<"$(each farscrape_relay_scrapes_total)"
  echo "$((after[0] - before[0])) $((after[1] - before[1]))"
}

# steady NAME PATH: scrapes by twos, on a new connection and on a kept one, for as
# long as the file go is there.
steady() {
  while [ -e "$dir/go" ]; do
    curl -s -m 10 -K "$dir/curl" -o /dev/null -o /dev/null -w "$EPOCHREALTIME %{http_code} %{exitcode} %header{farscrape-error}\n" "$url$2" "$url$2" || true
    sleep 0.05
  done >"$dir/steady.$1"
}

scrapes_whole() {
  local answer long
  long=$(head -c 20000 /dev/zero | tr '\0' x)
  for query in '' '' "?match[]=$long" ''; do
    answer=$(ask "/scrape/demo/metrics$query")
    [ "$answer" = "200 0 " ] || bad "a scrape with a URL of ${#query} more bytes comes as $answer"
    whole || bad "a scrape is not whole: $(wc -c <"$dir/body") bytes"
  done
}

# A body that breaks off must look so: to curl it is too short (18), reset (56) or
# the end of an HTTP/2 stream (92).
breaks_seen() {
  local answer
  for _ in 1 2 3; do
    answer=$(ask /scrape/demo/breaks)
    case $answer in
      "200 18 "* | "200 56 "* | "200 92 "*) ;;
      *) bad "a body that breaks off comes as $answer" ;;
    esac
  done
}

# proxy_mode URL: what becomes of it there. HAProxy and nginx promise it. Elsewhere
# it may fail, and must not end in a 200 that is not the target's.
proxy_mode() {
  local answer
  answer=$(curl -s -m 5 -K "$dir/curl-proxy" --proxy-cacert "$dir/relay.crt" -x "$1" -w '%{http_code} %{exitcode}' -o "$dir/body" "http://demo:${target#*:}/small" || true)
  case $answer in
    "200 0") [ "$(cat "$dir/body")" = "front_small 1" ] || bad "proxy mode: a 200 that is not the target's: '$(head -c 100 "$dir/body")'" ;;
    *) case $front in haproxy | nginx | tcp) bad "proxy mode comes as $answer" ;; esac ;;
  esac
  echo "${answer% *}"
}

# An agent that is known and away: its 503s take no replica out.
offline_harmless() {
  local answer share
  for _ in $(seq 30); do
    answer=$(ask /scrape/gone/small)
    [ "$answer" = "503 0 agent_offline" ] || bad "an offline agent's scrape comes as $answer"
  done
  share=$(shares)
  case " $share " in *" 0 "*) bad "a replica gets nothing after 503s of an offline agent: $share" ;; esac
  echo "$share"
}

# A replica is told to stop and comes back, while scrapes never stop.
rolling() {
  local loops=() began took
  touch "$dir/go"
  steady 1 /scrape/demo/small & loops+=($!)
  steady 2 /scrape/demo/slow & loops+=($!)
  sleep 0.5
  began=$EPOCHREALTIME
  stop relay1
  took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f", b - a}')
  sleep 1
  run_relay 1
  sleep 3 # it gets its share again, before the agent has found it
  rm -f "$dir/go"
  wait "${loops[@]}"
  scrapes=$(cat "$dir"/steady.* | wc -l)
  failed=$(cat "$dir"/steady.* | grep -vc ' 200 0 $' || true)
  [ "$scrapes" -ge 100 ] || bad "only $scrapes scrapes while a replica stopped"
  if [ "$failed" != 0 ]; then
    grep -hv ' 200 0 $' "$dir"/steady.* | head -5 >&2
    bad "$failed of $scrapes scrapes failed while a replica stopped and came back (stopped at $began)"
  fi
  replica="a replica stopped in $took s and came back: $scrapes scrapes, 0 failed"
}

try() {
  local began=$SECONDS closed modes share
  run_front
  await "the front answers" answers
  run_agent demo "$url"
  await "the agent has a link to each replica" linked
  closed=$(closed_on_2)
  scrapes_whole
  breaks_seen
  modes=$(proxy_mode "$url")
  [ "$front" != caddy ] || modes+=" $(proxy_mode "http://localhost:$http")"
  share=$(offline_harmless)
  rolling
  [ $((SECONDS - began)) -ge 12 ] || sleep 4 # longer than links live without pings
  [ "$(closed_on_2)" = "$closed" ] || bad "the front cut the link to the replica that stayed"
  echo "check: $front: 4 × 8 MB whole; 3 of 3 broken bodies seen; proxy mode: $modes; replicas in after 30 × 503 agent_offline: $share of 30; $replica; links not cut; $((SECONDS - began)) s"
  stop agent front
}

# address: where the agent's links come from, as the relays say.
address() { ask '/api/v1/agents' >/dev/null; grep -o '"remote_addr":"[^"]*"' "$dir/body" | cut -d'"' -f4; }
from_agent() { [ "$(address | cut -d: -f1 | sort -u | paste -sd ' ')" = 127.0.0.1 ]; }

# A front that ends no TLS says by the PROXY protocol whose connections they are; the
# relays hear that from it, and from nobody else.
try_tcp() {
  local answer began=$SECONDS
  stop relay1 relay2
  printf 'tls_server_config: {cert_file: relay.crt, key_file: relay.key}\n' >"$dir/web.yaml"
  for n in 1 2; do run_relay $n FARSCRAPE_WEB_CONFIG_FILE="$dir/web.yaml" FARSCRAPE_PROXY_PROTOCOL=true FARSCRAPE_TRUSTED_PROXIES=127.0.0.9/32; done
  for header in send-proxy-v2 send-proxy; do
    configure haproxy-tcp.cfg
    run_front
    await "the front answers" answers
    run_agent demo "$url"
    await "the agent has a link to each replica" linked
    await "the agent's address is its own, by $header: $(address)" from_agent
    scrapes_whole
    breaks_seen
    proxy_mode "$url" >/dev/null
    stop agent front
    await "the links are gone" unlinked
  done
  answer=$(curl -s -m 5 -K "$dir/curl" --connect-to "localhost:$https:$relay1" -w '%{http_code}' -o "$dir/body" "$url/-/ready" || true)
  [ "$answer" = 200 ] || bad "without a header a stranger gets $answer"
  answer=$(curl -s -m 5 -K "$dir/curl" --haproxy-protocol --connect-to "localhost:$https:$relay1" -w '%{http_code}' -o "$dir/body" "$url/-/ready" || true)
  [ "$answer" = 000 ] || bad "a stranger's header is answered by $answer"
  stop relay1 relay2
  for n in 1 2; do run_relay $n; done # as the other fronts have them
  echo "check: tcp: by send-proxy-v2 and send-proxy: the agent's own address in /api/v1/agents; 4 × 8 MB whole; 3 of 3 broken bodies seen; proxy mode: 200; a stranger's header refused; $((SECONDS - began)) s"
}

# Their own checks want to see the certificate.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$dir/relay.key" -out "$dir/relay.crt" 2>/dev/null
cat "$dir/relay.crt" "$dir/relay.key" >"$dir/relay.pem"
case " ${fronts[*]} " in *" caddy "*)
  GOBIN=$dir go install "github.com/caddyserver/caddy/v2/cmd/caddy@$caddy_version" 2>"$dir/go.log" || bad "caddy does not build" ;;
esac

running=()
for front in "${fronts[@]}"; do
  validate
  if [ "$front" = envoy ]; then
    echo "check: envoy: the file is what Envoy's protobufs allow, and keeps links and long scrapes; it was not run"
  else
    running+=("$front")
  fi
done
[ ${#running[@]} -gt 0 ] || exit 0

front=all
(cd ../.. && go build -o "$dir/" ./relay/cmd/farscrape-relay ./agent/cmd/farscrape-agent)
go build -o "$dir/target" target.go
openssl rand -hex 32 >"$dir/key"
mint() { FARSCRAPE_KEY_FILE=$dir/key "$dir/farscrape-relay" token "$@" 2>/dev/null; }
mint -agent demo >"$dir/demo.token"
mint -agent gone >"$dir/gone.token"
token=$(mint -scraper prometheus)
printf 'cacert = "%s"\nheader = "Authorization: Bearer %s"\n' "$dir/relay.crt" "$token" >"$dir/curl"
printf 'proxy-header = "Proxy-Authorization: Bearer %s"\n' "$token" >"$dir/curl-proxy"

start redis redis-server --port "${redis#*:}" --bind 127.0.0.1 --save '' --maxmemory-policy noeviction --dir "$dir"
start target "$dir/target" "$target"
run_relay 1
run_relay 2
run_agent gone "http://$relay1"
await "the agent that will be gone is known" curl -fsS "http://$own/-/ready"
stop agent
await "it is known as offline" offline

for front in "${running[@]}"; do
  case $front in tcp) try_tcp ;; *) try ;; esac
done
