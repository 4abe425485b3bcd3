page deploy/from-pushprox.md

step "1. Tokens for all"
keys
# PushProx's own list, as it prints it.
echo '10.0.0.2 pushprox' >>/etc/hosts
mkdir list
echo '[{"targets":["edge-1.example.com","Host-2","10.0.0.7"],"labels":null}]' >list/clients
web pushprox redis <<END
listen 8080; root $PWD/list;
END
await 10 "PushProx's list" curl -fsS http://pushprox:8080/clients
take 'umask 077'
# It fails: one is called by an address.
! . "$block" 2>"$logs/shell" || fail "a client that is called by an address is not told"
grep -q 'line 3.*10\.0\.0\.7' "$logs/shell" || fail "its line is not told: $(cat "$logs/shell")"
expect "names" "$(cut -f 1 tokens.tsv | xargs)" "edge-1.example.com host-2"

step "2. Relays beside PushProx"
redis redis
echo redis://redis:6379 >redis-url
change "s#^\(FARSCRAPE_REDIS_URL_FILE\)=…#\1=$PWD/redis-url#" "a path of the reader's"
change "s#^\(FARSCRAPE_KEY_FILE\)=…#\1=$PWD/key#" "a path of the reader's"
write '# agents: plain HTTP' relay.env
spawn relay relay-1 env FARSCRAPE_SD_GRACE=1s bash -c 'set -a; . ./relay.env; exec farscrape-relay'
await 20 "the relay" curl -fsS http://10.0.0.5:8081/-/ready
authority relay.example.com
trusted
sed 's#relay-1.internal:8080#relay-1.internal:8082#; /relay-2.internal/d' deploy/fronts/nginx.conf >front.conf
spawn front front nginx -g 'daemon off;' -c "$PWD/front.conf"

step "3. Agents beside the clients"
awk -F '\t' '{print $2 >$1 ".token"}' tokens.tsv
exporter
web app site <<'END'
listen 8080; default_type text/plain; location = /metrics { return 200 "app_up 1\n"; }
END
write 'FARSCRAPE_RELAY_URL=' agent.env
spawn edge-1 site env FARSCRAPE_TOKEN_FILE=edge-1.example.com.token bash -c 'set -a; . ./agent.env; exec farscrape-agent'
linked edge-1 1
proxied() { curl -s -o "$logs/answer" -w '%{http_code} %header{farscrape-error}' -x http://10.0.0.5:8081 "$1"; }
expect "a scrape by the FQDN" "$(proxied http://edge-1.example.com:9100/metrics)" "200 "
expect "by the FQDN in capitals" "$(proxied http://EDGE-1.example.com:8080/metrics)" "200 "
expect "with PushProx's _scheme" "$(proxied 'http://edge-1.example.com:9100/metrics?_scheme=https')" "200 "
expect "a port that is not declared" "$(proxied http://edge-1.example.com:9999/metrics)" "403 target_not_declared"
# Nobody is unknown to a directory that came up within FARSCRAPE_SD_GRACE.
await 10 "an agent that is not there yet is unknown" eval '[ "$(proxied http://host-2:9100/metrics)" = "404 agent_unknown" ]'

step "3. Addresses"
write 'targets:' targets.yaml
for host in 10.0.3.7 10.0.3.8; do
  ip -n site address add "$host/32" dev lo
  spawn "$host" site prometheus-node-exporter --web.listen-address="$host:9100" --log.level=error
done
spawn host-2 site env FARSCRAPE_RELAY_URL=https://relay.example.com FARSCRAPE_TOKEN_FILE=host-2.token FARSCRAPE_TARGETS_FILE=targets.yaml farscrape-agent
linked host-2 1
change 's#ec2_sd_configs: .*#static_configs: [{targets: ["10.0.3.7:9100", "10.0.3.8:9100"]}]#' "there is no EC2"
write '- job_name: node' job
{ cat job; sed 's/job_name: node/&-farscrape/' job; } | jobs >prometheus.yaml
prometheus_with prometheus.yaml
await 20 "both hosts are up" is 'sum(up{job="node",instance=~"10.0.3.[78]:9100",agent=""})' 2

step "3. The playbook is YAML; it is not run"
write '- file:' playbook.yaml
pages yaml playbook.yaml

step "4. Side by side"
await 20 "the copy, too" is 'sum(up{job="node-farscrape"})' 2
take 'up{job='
expect "what the copy lacks" "$(value "$(cat "$block")")" ''

step "5. Switch: /clients"
clients() { curl -fsS http://10.0.0.5:8081/clients | jq -r '.[].targets[]' | sort | xargs; }
clients >"$logs/clients"
grep -q edge-1.example.com "$logs/clients" || fail "/clients has no edge-1: $(cat "$logs/clients")"
