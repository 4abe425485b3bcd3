page deploy/README.md

step "Docker compose: an agent on another machine"
leave 'docker compose build relay' "scripts/compose-test.sh rolls a project"
# The front's machine has the project: one relay here, which stands for its HAProxy.
keys
redis redis
relay relay front FARSCRAPE_LISTEN=127.0.0.1:8080 FARSCRAPE_PUBLIC_URL=http://balancer:8080
docker() {
  expect "what is called" "${*:1:5}" "compose exec -T relay /farscrape-relay"
  farscrape-relay "${@:6}"
}
run '(umask 077; docker compose exec'
authority relay.example.com
trusted
# The front that the text asks for.
sed 's#relay-1.internal:8080#127.0.0.1:8080#; /relay-2.internal/d' deploy/fronts/nginx.conf >front.conf
spawn front front nginx -g 'daemon off;' -c "$PWD/front.conf"
exporter
spawn edge-2 site env FARSCRAPE_RELAY_URL=https://relay.example.com FARSCRAPE_TOKEN_FILE=edge-2.token FARSCRAPE_TARGETS=node=http://localhost:9100/metrics farscrape-agent
linked edge-2 1
inside() { on front curl -s -H "Authorization: Bearer $(cat scraper.token)" "http://127.0.0.1:8080$1"; }
await 10 "Prometheus inside discovers it" eval 'inside /sd | jq -e ".[] | select(.labels.instance == \"edge-2/node\" and .targets == [\"balancer:8080\"])"'
inside /scrape/edge-2/node | grep '^node_uname_info' >>"$logs/shell"
stop edge-2
stop front
stop relay
stop redis

step "Keys and tokens: the new key before the old one"
# An agent dials anew every ten seconds, not every 50 minutes.
stack FARSCRAPE_LINK_MAX_AGE=10s
agent edge-1 FARSCRAPE_TOKEN_FILE=edge-1.token FARSCRAPE_TARGETS=node=http://localhost:9100/metrics
farscrape-relay token -agent late -renew=false >late.token 2>>"$logs/shell"
agent late FARSCRAPE_TOKEN_FILE=late.token FARSCRAPE_TARGETS=node=http://localhost:9100/metrics
cp scraper.token old.token
scrapes() { while :; do ask scraper.token https://relay.example.com/scrape/edge-1/node; echo; sleep 0.05; done; }
scrapes >"$logs/scrapes" &
loop=$!
called() { head -n 1 | tr -d '\n' | sha256sum | cut -c 1-8; }
old=$(called <key)
run '(umask 077; { openssl rand -hex 32; cat key; }'
new=$(called <key)
expect "keys, one a line" "$(wc -l <key)" 2

step "Keys and tokens: new tokens"
sleep 2 # a file is watched
farscrape-relay token -scraper prometheus >new.token 2>>"$logs/shell"
mv new.token scraper.token
links() { # KEY: those of both relays
  for r in relay-1 relay-2; do curl -fsS "http://$r:9090/metrics"; done | awk -v key="key=\"$1\"" 'index($0, "farscrape_relay_links_by_key") == 1 && index($0, key) {n += $NF} END {print n + 0}'
}
await 60 "edge-1 has been given one of the new key, late has links of the old one" eval '[ "$(links $new) $(links $old)" = "2 2" ]'

step "Keys and tokens: the old key goes"
expect "the old token, while its key is there" "$(ask old.token https://relay.example.com/scrape/edge-1/node)" "200 "
sed -i 2d key
await 10 "what links the old key has end within 5 s" eval '[ "$(links $old)" = 0 ]'
await 10 "the old token is refused" eval '[ "$(ask old.token https://relay.example.com/scrape/edge-1/node)" = "401 unauthorized" ]'
await 30 "edge-1 stays" eval '[ "$(links $new)" = 2 ]'
kill $loop
wait $loop || true
expect "statuses of all scrapes meanwhile" "$(sed '/^$/d; $d' "$logs/scrapes" | sort | uniq -c | awk '{$1 = ""} 1' | xargs)" "200"
say "$(wc -l <"$logs/scrapes") scrapes one after the other while the key changed, all 200"

step "Tokens: when one ends"
run "jq -Rr 'split("
expect "the year in which it ends" "$(tail -n 1 "$logs/shell" | cut -c 1-4)" "$(date -u -d '+365 days' +%Y)"

step "Joining"
run 'farscrape-relay token -join'
# A home that it may write to, which no other agent has, and a name that fits.
mkdir joined
change "s#^#HOME=$PWD/joined FARSCRAPE_NAME=edge-9 #"
serve 'FARSCRAPE_TARGETS=node' joined site
linked joined 2
expect "a scrape" "$(ask scraper.token https://relay.example.com/scrape/edge-9/node)" "200 "
stop joined
again joined site 's#join .*##; s#^#FARSCRAPE_RELAY_URL=https://relay.example.com #' # by its own token
linked joined 4
stop joined

step "TLS at the relay"
stop edge-1
stop late
stop front
serve 'cat >web.yaml' secure front
await 20 "it is ready" curl -fsS https://relay.example.com/-/ready
spawn secured site env FARSCRAPE_RELAY_URL=https://relay.example.com FARSCRAPE_TOKEN_FILE=edge-1.token FARSCRAPE_LINKS=1 \
  FARSCRAPE_TARGETS=node=http://localhost:9100/metrics farscrape-agent
linked secured 1
expect "a scrape" "$(ask scraper.token https://relay.example.com/scrape/edge-1/node)" "200 "

step "TLS at the relay: renewing"
shown() { openssl s_client -connect relay.example.com:443 -servername relay.example.com </dev/null 2>/dev/null | openssl x509 -noout -serial; }
first=$(shown)
authority relay.example.com
trusted
await 20 "the new certificate" eval '[ "$(shown)" != "$first" ]'
expect "a scrape by it" "$(ask scraper.token https://relay.example.com/scrape/edge-1/node)" "200 "
expect "links there were" "$(grep -c msg=linked "$logs/secured")" 1

step "Certificates instead of tokens"
stop secured
stop secure
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj '/CN=clients' -keyout clients.key -out /etc/farscrape/tls/clients-ca.crt 2>/dev/null
client() { # NAME SUBJECT-ALTERNATIVE-NAME
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=client -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA /etc/farscrape/tls/clients-ca.crt -CAkey clients.key -CAcreateserial -days 1 \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=clientAuth\n' "$2") -out "$1.crt" 2>/dev/null
}
client plain DNS:edge-3
client workload URI:spiffe://example.org/tenant/default/agent/edge-4
client prometheus DNS:prometheus.example.com
serve 'cat >web.yaml' certified front
await 20 "it is ready" curl -fsS https://relay.example.com/-/ready
for own in plain workload; do
  spawn "$own" site env FARSCRAPE_RELAY_URL=https://relay.example.com FARSCRAPE_TLS_CERT_FILE=$own.crt FARSCRAPE_TLS_KEY_FILE=$own.key FARSCRAPE_LINKS=1 \
    FARSCRAPE_TARGETS=node=http://localhost:9100/metrics farscrape-agent
  linked "$own" 1
done
shows() { curl -s -m 20 -o "$logs/answer" -w '%{http_code} %header{farscrape-error}' --cert "$1.crt" --key "$1.key" "https://relay.example.com$2"; }
expect "a scrape of the one with a DNS name" "$(shows prometheus /scrape/edge-3/node)" "200 "
expect "a scrape of the one with a SPIFFE ID" "$(shows prometheus /scrape/edge-4/node)" "200 "
expect "a scrape by an agent" "$(shows plain /scrape/edge-4/node)" "403 forbidden"
expect "a scrape by a token" "$(ask scraper.token https://relay.example.com/scrape/edge-3/node)" "401 unauthorized"
