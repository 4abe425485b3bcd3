page README.md

step "Try it"
leave 'Prometheus ──▶' "a drawing"
leave 'scripts/demo.sh' "the demo and the tests are steps of .ci/run"

step "Run it: build"
run 'go build -o bin/'
farscrape-relay -help >"$logs/help"
farscrape-agent -help >"$logs/help"

step "1. A key"
run 'umask 077'
expect "who may read them" "$(stat -c %a key edge-1.token scraper.token | sort -u)" 600

step "2. Relays: two, with Redis, behind HAProxy"
redis redis
serve 'FARSCRAPE_LISTEN=:8080' relay-1 relay-1
again relay-2 relay-2
# As if a public CA had signed it; that of one's own is on the page of the fronts.
authority relay.example.com
trusted
haproxy_front front deploy/fronts/haproxy.cfg
await 20 "both are ready" eval 'curl -fsS http://relay-1:8080/-/ready && curl -fsS http://relay-2:8080/-/ready && curl -fsS https://relay.example.com/-/ready'
ready=$SECONDS
expect "discovery, before agents may be back" "$(ask scraper.token https://relay.example.com/sd)" "503 bus_unavailable"

step "3. Agents: with FARSCRAPE_TARGETS"
exporter
serve 'FARSCRAPE_RELAY_URL=https://relay.example.com' agent site
linked agent 2

step "3. Agents: with FARSCRAPE_TARGETS_FILE"
stop agent
write 'targets:' targets.yaml
# The target app as the file has it: TLS by the site's CA, and a password.
self_signed app.internal app-ca
echo secret >app-password
echo "prometheus:$(openssl passwd -apr1 secret)" >app.users
web app site <<END
listen 8443 ssl; ssl_certificate $PWD/app-ca.pem; ssl_certificate_key $PWD/app-ca.key;
location = /metrics { auth_basic app; auth_basic_user_file $PWD/app.users; root $PWD/app; }
END
mkdir app
echo "app_up 1" >app/metrics
again agent site 's#FARSCRAPE_TARGETS=[^ ]*#FARSCRAPE_TARGETS_FILE=targets.yaml#'
linked agent 4

step "4. Prometheus"
await $((ready + 50 - SECONDS)) "discovery, 45 s after a Redis came up empty" eval '[ "$(ask scraper.token https://relay.example.com/sd)" = "200 " ]'
write 'scrape_configs:' prometheus.yaml
prometheus_with prometheus.yaml
await 20 "the three targets of edge-1 are up" is 'sum(up{job="farscrape",agent="edge-1"})' 3
expect "they are" "$(curl -fsS http://127.0.0.1:9090/api/v1/query?query=up | jq -r '.data.result[].metric.instance' | sort | xargs)" "edge-1/app edge-1/farscrape edge-1/node"
expect "the label of targets.yaml" "$(value 'up{env="prod"}')" 1
expect "what came through" "$(value 'count(node_uname_info)') $(value app_up)" "1 1"

step "4. Prometheus: proxy_url"
for user in "prometheus:$(cat scraper.token)" "$(cat scraper.token)"; do
  expect "a scrape with proxy_url" "$(curl -s -o "$logs/answer" -w '%{http_code}' -x "http://$user@relay:8080" http://edge-1:9100/metrics)" 200
  grep -q '^node_uname_info' "$logs/answer"
done

step "one relay killed"
stop relay-1 KILL
from=$SECONDS
sleep 3
await 10 "the targets are up" is 'sum(up{agent="edge-1"})' 3
sleep 5
expect "and stay so for the last five seconds" "$(value 'sum(min_over_time(up{agent="edge-1"}[5s]))')" 3
missed=$(value 'sum(count_over_time(up[10s]) - sum_over_time(up[10s]))')
say "one relay killed: Prometheus missed $missed of its scrapes, one a second of each of three targets"

step "When a scrape fails"
url=https://relay.example.com/scrape
expect "an agent that nobody knows" "$(ask scraper.token $url/nobody/node)" "404 agent_unknown"
expect "a target that is not declared" "$(ask scraper.token $url/edge-1/other)" "403 target_not_declared"
expect "an agent's token" "$(ask edge-1.token $url/edge-1/node)" "403 forbidden"
echo wrong >wrong.token
expect "a wrong token" "$(ask wrong.token $url/edge-1/node)" "401 unauthorized"
expect "a token in the URL" "$(ask scraper.token "$url/edge-1/node?token=$(cat scraper.token)")" "400 bad_request"
stop node
expect "a target that is away" "$(ask scraper.token $url/edge-1/node)" "502 target_refused"
stop agent
await 20 "an agent that is away" eval '[ "$(ask scraper.token $url/edge-1/node)" = "503 agent_offline" ]'
await 10 "and its targets stay listed" is 'count(up{agent="edge-1"} == 0)' 3
