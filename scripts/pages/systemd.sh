page deploy/systemd/README.md

# No systemd runs here. These stand in for it: they run the unit's program as
# another user, with the environment and the copies of credentials that the unit
# says, and nothing of its confinement.
systemctl() {
  case $* in
    daemon-reload) ;;
    'enable --now '*) start_unit "$3" ;;
    'restart '*) stop "$2"; start_unit "$2" ;;
    *) fail "systemctl $*: not known here" ;;
  esac
}
journalctl() { sleep 3; tail -n "$4" "$logs/$2" | tee "$logs/journal"; }
start_unit() {
  local unit=/etc/systemd/system/$1.service credentials=/run/credentials/$1.service file environment=()
  rm -rf "$credentials"
  install -d -m 711 /run/credentials
  install -d -m 500 -o nobody "$credentials"
  while IFS=: read -r id file; do install -m 400 -o nobody "$file" "$credentials/$id"; done < <(sed -n 's/^LoadCredential=//p' "$unit")
  mapfile -t environment < <(sed -n 's/^Environment=//p' "$unit" | tr ' ' '\n' | sed "s#%d#$credentials#")
  while read -r file; do
    case $file in -*) [ -e "${file#-}" ] || continue ;; esac
    mapfile -t -O ${#environment[@]} environment <"${file#-}"
  done < <(sed -n 's/^EnvironmentFile=//p' "$unit")
  cp "$unit" "$logs/unit"
  spawn "$1" here env -i -C / "${environment[@]}" setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs "$(sed -n 's/^ExecStart=//p' "$unit")"
}

step "The agent"
stack
cp "$bin/farscrape-agent" "$bin/farscrape-relay" deploy/systemd/*.service .
prometheus_targets() { spawn "$1" here prometheus-node-exporter --web.listen-address="localhost:$2" --log.level=error; }
prometheus_targets node 9100
run "cat >targets.yaml"
linked farscrape-agent 2
expect "the last line of its journal" "$(grep -c msg=linked <(tail -n 1 "$logs/journal"))" 1
expect "who may read the token" "$(stat -c %a /etc/farscrape/token)" 600
scraped() { [ "$(ask scraper.token https://relay.example.com/scrape/edge-1/node)" = "200 " ]; }
await 10 "edge-1 is scraped" scraped

step "targets.yaml is watched"
sed -i 's/name: node/name: machine/' /etc/farscrape/targets.yaml
await 10 "the target by its new name" eval '[ "$(ask scraper.token https://relay.example.com/scrape/edge-1/machine)" = "200 " ]'
sed -i 's/name: machine/name: node/' /etc/farscrape/targets.yaml

step "The relay"
stop relay-1
stop relay-2
stop redis
stop front
redis redis --requirepass PASSWORD
run 'install -m 755 farscrape-relay'
expect "whether it is ready" "$(curl -s -o "$logs/answer" -w '%{http_code}' localhost:8080/-/ready)" 200
grep -q '^farscrape_relay_links ' <(curl -s localhost:8090/metrics)
# A front on the same host, with this relay as its one replica.
sed -i 's/^10.0.0.3 relay/10.0.0.1 relay/' /etc/hosts
sed 's#relay-1.internal:8080#127.0.0.1:8080#; /relay-2.internal/d' deploy/fronts/nginx.conf >front.conf
spawn front here nginx -g 'daemon off;' -c "$PWD/front.conf"
await 60 "edge-1 is scraped through it" scraped

step "a new token, and a restart"
farscrape-relay token -agent edge-1 >new.token 2>>"$logs/shell"
install -m 600 new.token /etc/farscrape/token
systemctl restart farscrape-agent
await 20 "edge-1 is scraped" scraped

step "without Redis"
: >/etc/farscrape/redis-url
echo FARSCRAPE_REDIS_URL_FILE= >>/etc/farscrape/relay.env
systemctl restart farscrape-relay
await 10 "the relay says so" grep -q 'exactly one replica' "$logs/farscrape-relay"
await 60 "edge-1 is scraped" scraped
