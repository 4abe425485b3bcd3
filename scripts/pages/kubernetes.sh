page deploy/kubernetes/README.md

# There is no cluster: of exec the relay's command is run, of the rest it is seen
# that the files are there. check.sh there renders the manifests and runs them.
kubectl() {
  case $* in
    *' exec deploy/farscrape-relay -- /farscrape-relay '*) FARSCRAPE_KEY_FILE=key farscrape-relay "${@:7}" ;;
    *) given_files "$@" ;;
  esac
}

step "The relay: secrets"
mkdir own
cp -r deploy own/
mkdir -p own/farscrape
mv own/deploy own/farscrape/
cd own
run 'umask 077'
run 'kubectl -n farscrape create secret generic farscrape-redis'
run 'p=$(openssl rand'

step "The relay: a kustomization of one's own"
write 'apiVersion: kustomize' kustomization.yaml
kustomize build . >"$logs/rendered" 2>"$logs/kustomize"
for line in 'image: YOUR-REGISTRY/farscrape-relay:v1.2.3' '- relay.your-domain' 'name: YOUR-GATEWAY'; do
  grep -qF -- "$line" "$logs/rendered" || fail "what it renders has not: $line"
done

step "The relay: tokens"
run 'kubectl -n farscrape exec deploy/farscrape-relay'
expect "newlines in the scraper's token" "$(wc -l <scraper.token)" 0
run 'kubectl -n farscrape create secret generic farscrape-key'

step "Prometheus"
run 'kubectl -n farscrape create secret generic farscrape-scraper'
write '- job_name: farscrape' job
install -D -m 600 scraper.token /etc/farscrape/token
jobs <job >prometheus.yaml
# The Service's name, and the relay under it.
redis redis
relay relay relay-1 FARSCRAPE_KEY_FILE=key FARSCRAPE_PUBLIC_URL=http://farscrape-relay.farscrape.svc:8080
echo '10.0.0.5 farscrape-relay.farscrape.svc' >>/etc/hosts

step "An agent in every pod: what its annotation says"
write 'metadata:' pod.yaml
pages yaml pod.yaml
sed -n '/targets: |/,$p' pod.yaml | sed '1d; s/^      //' >targets.yaml
spawn web here prometheus-node-exporter --web.listen-address=localhost:8080 --log.level=error
spawn cache here prometheus-node-exporter --web.listen-address=localhost:9121 --log.level=error
run 'kubectl create namespace shop'
spawn agent here env FARSCRAPE_RELAY_URL=http://farscrape-relay.farscrape.svc:8080 FARSCRAPE_TOKEN_FILE=sidecar.token FARSCRAPE_NAME=pod-1.shop FARSCRAPE_TARGETS_FILE=targets.yaml farscrape-agent
linked agent 1
prometheus_with prometheus.yaml
await 40 "both containers" is 'sum(up{job="farscrape",agent="pod-1.shop",container=~"web|cache"})' 2
await 40 "the directory" is 'up{job="farscrape-agents"}' 1
spawn stranger here env FARSCRAPE_RELAY_URL=http://farscrape-relay.farscrape.svc:8080 FARSCRAPE_TOKEN_FILE=sidecar.token FARSCRAPE_NAME=pod-1.other FARSCRAPE_TARGETS_FILE=targets.yaml farscrape-agent
sleep 2
expect "links of another namespace's agent with the token for *.shop" "$(grep -c msg=linked "$logs/stranger" || true)" 0

step "An agent for a namespace"
run 'kubectl -n shop create secret generic farscrape-agent'
