page deploy/from-tunnels.md

step "1. Relays, and a token for each host"
stack
printf '%s\n' edge-1 edge-2 >hosts
run '(umask 077; farscrape-relay token -agent -'
expect "names" "$(cut -f 1 tokens.tsv | xargs)" "edge-1 edge-2"

step "2. Agents beside the tunnels"
awk -F '\t' '$1 == "edge-1" {print $2}' tokens.tsv >edge-1.token
exporter
write 'targets:' targets.yaml
agent edge-1 FARSCRAPE_TOKEN_FILE=edge-1.token FARSCRAPE_TARGETS_FILE=targets.yaml

step "3. The job of prometheus.yaml"
cp scraper.token deploy/prometheus/
prometheus_on here deploy/prometheus/prometheus.yaml
await 60 "the target, by the labels that dashboards know" is 'up{job="node",instance="frps:17001",agent="edge-1"}' 1
