page deploy/scrapers.md

# Both files are in Prometheus's own format: so Prometheus scrapes with them, and
# vmagent and otelcol where they are on PATH.
step "vmagent's file, in Prometheus"
stack
exporter
agent edge-1 FARSCRAPE_TOKEN_FILE=edge-1.token FARSCRAPE_TARGETS=node=http://localhost:9100/metrics
mkdir /etc/vmagent /etc/otelcol
cp scraper.token /etc/vmagent/
cp scraper.token /etc/otelcol/
write 'scrape_configs:' vmagent.yaml
prometheus_with vmagent.yaml
await 20 "edge-1 is up" is 'sum(up{job="farscrape",agent="edge-1"})' 2
stop prometheus-here

if command -v vmagent >"$logs/which"; then
  step "vmagent's file, in vmagent"
  { echo 'global: {scrape_interval: 1s}'; cat vmagent.yaml; } >vmagent.fast
  spawn vmagent here vmagent -promscrape.config=vmagent.fast -remoteWrite.url=http://127.0.0.1:1 -remoteWrite.tmpDataPath="$dir/$name.vmagent"
  await 30 "edge-1 is up" eval '[ "$(curl -fsS http://127.0.0.1:8429/api/v1/targets | jq "[.data.activeTargets[] | select(.health == \"up\")] | length")" = 2 ]'
fi

step "the collector's job, in Prometheus"
write 'receivers:' otelcol.yaml
pages yaml otelcol.yaml
sed -n '/^    config:/,$p' otelcol.yaml | sed '1d; s/^      //' >job.yaml
rm -r "$dir/$name.tsdb-here"
prometheus_with job.yaml
await 20 "edge-1 is up" is 'sum(up{job="farscrape",agent="edge-1"})' 2

if command -v otelcol >"$logs/which"; then
  step "the collector's file, in a collector"
  sed 's/^    config:/&\n      global: {scrape_interval: 1s}/' otelcol.yaml >otelcol.fast
  echo 'exporters: {debug: {verbosity: detailed}}
service: {telemetry: {metrics: {level: none}}, pipelines: {metrics: {receivers: [prometheus], exporters: [debug]}}}' >>otelcol.fast
  spawn otelcol here otelcol --config=otelcol.fast
  await 40 "a sample of edge-1's" grep -q node_uname_info "$logs/otelcol"
  stop otelcol
fi

step "Redis away: the list is kept"
stop redis KILL
await 20 "discovery" eval '[ "$(ask scraper.token https://relay.example.com/sd)" = "503 bus_unavailable" ]'
expect "what Prometheus scrapes" "$(value 'count(up{job="farscrape"})')" 2
