page deploy/one-host.md

step "On the relay's machine"
run 'umask 077 && openssl rand'
run 'openssl req -x509'
run "echo 'tls_server_config"
run 'farscrape-relay token -scraper'
serve 'FARSCRAPE_LISTEN=:8443' relay front
began=$SECONDS
await 20 "it is ready" curl -fsS --cacert relay.pem https://relay.example.com:8443/-/ready
expect "without its certificate" "$(curl -s https://relay.example.com:8443/-/ready || echo $?)" 60
run 'umask 077 && FARSCRAPE_KEY_FILE=key'
expect "who may read them" "$(stat -c %a key relay.key join.token scraper.token | sort -u)" 600

step "On the agent's"
exporter
export XDG_STATE_HOME=$PWD/state # nobody's home can be written to here
serve 'FARSCRAPE_TLS_CA_FILE=relay.pem' agent site
linked agent 1
say "the agent has joined $((SECONDS - began)) s after the relay's start"

step "Prometheus"
write 'global:' prometheus.yaml
# It would have its data beside the file.
change "s#\$# --storage.tsdb.path=$dir/$name.tsdb --web.listen-address=127.0.0.1:9090#"
serve 'prometheus --config.file' prometheus here
await 90 "both targets of edge-1 are up" is 'sum(up{job="farscrape",agent="edge-1"})' 2
say "both targets are up $((SECONDS - began)) s after the relay's start"
expect "they are" "$(curl -fsS http://127.0.0.1:9090/api/v1/query?query=up | jq -r '.data.result[].metric.instance' | sort | xargs)" "edge-1/farscrape edge-1/node"
expect "what Prometheus asks" "$(curl -fsS http://127.0.0.1:9090/api/v1/targets | jq -r '.data.activeTargets[].scrapeUrl' | sort | head -n 1)" "https://relay.example.com:8443/scrape/edge-1/farscrape"
expect "what came through" "$(value 'count(node_uname_info)')" 1
