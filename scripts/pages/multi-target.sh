page deploy/prometheus/multi-target.md

step "prometheus.yaml, as it stands"
stack
exporter
write 'targets:' targets.yaml
agent edge-1 FARSCRAPE_TOKEN_FILE=edge-1.token FARSCRAPE_TARGETS=node=http://localhost:9100/metrics FARSCRAPE_TARGETS_FILE=targets.yaml
# blackbox_exporter and snmp_exporter: they say what they were asked.
for exporter in probe:9115 snmp:9116; do
  web "${exporter%:*}" site <<END
listen ${exporter#*:}; default_type text/plain;
location = /${exporter%:*} {
  if (\$arg_target = "") { return 400; }
  return 200 'asked{target="\$arg_target",module="\$arg_module"} 1\n';
}
location = /metrics { return 200 "own 1\n"; }
END
done
cp scraper.token deploy/prometheus/
cd deploy/prometheus
sed -i "s/TOKEN@/$(cat scraper.token)@/" prometheus.yaml multi-target.yaml
# "relay: a name with one A record for each replica", which it asks the DNS for.
spawn dns here dnsmasq --keep-in-foreground --no-resolv --user=root --pid-file="$logs/dns.pid"
echo nameserver 127.0.0.1 >/etc/resolv.conf
prometheus_on here prometheus.yaml
await 60 "both relays" is 'sum(up{job="farscrape-relay"})' 2
await 60 "the directory" is 'sum(up{job="farscrape-agents"})' 1
await 60 "node, blackbox-own and farscrape of edge-1" is 'sum(up{job="farscrape"})' 3
expect "targets that are listed" "$(value 'count(up{job="farscrape"})')" 3
await 60 "the same in proxy mode, but farscrape" is 'sum(up{job="farscrape-proxy"})' 2
expect "an agent in the directory" "$(value 'farscrape_directory_agent_connected{agent="edge-1"}')" 1
expect "rules that fail" "$(curl -s http://127.0.0.1:9090/api/v1/rules | jq '[.data.groups[].rules[] | select(.health == "err")] | length')" 0
stop prometheus-here

step "multi-target.yaml, as it stands"
prometheus_with multi-target.yaml
for job in blackbox snmp blackbox-proxy snmp-proxy; do
  await 20 "$job" is "sum(up{job=\"$job\",agent=\"edge-1\"})" 2
done
expect "whom they asked" "$(value 'count(asked{job=~"snmp.*",module="if_mib",target=~"switch-[12].lan",instance=~"switch-[12].lan"})')" 4
expect "a target without its parameter" "$(ask scraper.token https://relay.example.com/scrape/edge-1/snmp)" "400 target"
