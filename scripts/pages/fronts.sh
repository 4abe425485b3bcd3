page deploy/fronts/README.md

step "A CA of your own"
keys
redis redis
relay relay-1 relay-1
relay relay-2 relay-2
authority relay.example.com
cp /etc/farscrape/tls/ca.pem /etc/farscrape/
cp /etc/farscrape/ca.pem .
haproxy_front front deploy/fronts/haproxy.cfg
await 20 "the front" curl --cacert ca.pem -fsS https://relay.example.com/-/ready
exporter
targets=FARSCRAPE_TARGETS=node=http://localhost:9100/metrics
spawn ignorant site env FARSCRAPE_RELAY_URL=https://relay.example.com FARSCRAPE_TOKEN_FILE=edge-1.token $targets farscrape-agent
await 20 "an agent that does not know the CA says so" grep -q 'x509: certificate signed by unknown authority' "$logs/ignorant"
stop ignorant
agent edge-1 FARSCRAPE_TLS_CA_FILE=/etc/farscrape/ca.pem FARSCRAPE_TOKEN_FILE=edge-1.token $targets
write '- job_name: farscrape' job
jobs <job >prometheus.yaml
prometheus_with prometheus.yaml
up='sum(up{job="farscrape",agent="edge-1"})'
await 20 "through HAProxy, edge-1 is up" is "$up" 2

proxied() {
  curl -s -o "$logs/answer" -w '%{http_code}' --proxy-cacert ca.pem -x "https://prometheus:$(cat scraper.token)@relay.example.com" http://edge-1:9100/metrics
}
step "Proxy mode, through HAProxy"
expect "a scrape with proxy_url" "$(proxied)" 200

step "nginx in HAProxy's place"
stop front
spawn front front nginx -g 'daemon off;' -c "$PWD/deploy/fronts/nginx.conf"
await 20 "the front" curl --cacert ca.pem -fsS https://relay.example.com/-/ready
linked edge-1 4
await 20 "through nginx, edge-1 is up" is "$up" 2
expect "a scrape with proxy_url" "$(proxied)" 200

step "nginx: a replica that goes is not missed"
from=$SECONDS
stop relay-2
sleep 3
expect "scrapes that failed meanwhile" "$(value "sum(count_over_time(up[$((SECONDS - from))s]) - sum_over_time(up[$((SECONDS - from))s]))")" 0

step "the next CA beside the old one"
cp ca.pem old.pem
authority relay.example.com
stop front
spawn front front nginx -g 'daemon off;' -c "$PWD/deploy/fronts/nginx.conf"
cat old.pem /etc/farscrape/tls/ca.pem >both.pem
cp both.pem /etc/farscrape/ca.pem # before the front has it, on a real one
cp both.pem ca.pem
linked edge-1 5
await 20 "edge-1 is up" is "$up" 2
