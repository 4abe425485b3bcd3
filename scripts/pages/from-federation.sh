page deploy/from-federation.md

step "1. The relay"
stack
run 'umask 077'
[ -s berlin.token ]

step "2. At each site"
cat >site.yaml <<END
global: {scrape_interval: 1s, external_labels: {site: berlin}}
scrape_configs:
  - {job_name: node, static_configs: [{targets: ["localhost:9100"]}]}
  - {job_name: other, static_configs: [{targets: ["localhost:9090"]}]}
END
exporter
prometheus_on site site.yaml
write 'targets:' targets.yaml
agent berlin FARSCRAPE_TOKEN_FILE=berlin.token FARSCRAPE_TARGETS_FILE=targets.yaml

step "2. Where nginx must stay between"
# The site's nginx, with its own CA and its user.
echo '127.0.0.1 nginx.site' >>/etc/hosts
self_signed nginx.site site-ca
echo secret >nginx-password
echo "central:$(openssl passwd -apr1 secret)" >nginx.users
web nginx site <<END
listen 443 ssl; ssl_certificate $PWD/site-ca.pem; ssl_certificate_key $PWD/site-ca.key;
location = /federate { auth_basic site; auth_basic_user_file $PWD/nginx.users; proxy_pass http://localhost:9090; }
END
write 'targets:' nginx-targets.yaml
farscrape-relay token -agent paris >paris.token 2>>"$logs/shell"
agent paris FARSCRAPE_TOKEN_FILE=paris.token FARSCRAPE_TARGETS_FILE=nginx-targets.yaml

step "3. The central job"
write '- job_name: federate' job
# Of two sites with the same labels each would write the other's series.
sed 's/target=federate/&\&agent=berlin/' job | jobs >prometheus.yaml
prometheus_with prometheus.yaml
await 40 "the site is up" is 'up{job="federate",agent="berlin"}' 1
await 40 "a sample of the site's" is 'count(node_uname_info{job="node",site="berlin",agent=""})' 1
expect "jobs that match[] leaves out" "$(value 'count(up{job="other"})')" ''
stop prometheus-here

step "3. With the label agent, on all but up"
take '  metric_relabel_configs:'
{ sed '/metric_relabel_configs/,$d' job; cat "$block"; } | jobs >prometheus.yaml
rm -r "$dir/$name.tsdb-here"
prometheus_with prometheus.yaml
await 40 "both sites are up" is 'sum(up{job="federate"})' 2
await 40 "a sample of each" is 'count(node_uname_info{job="node",agent=~"berlin|paris"})' 2
expect "the sites' own up" "$(value 'count(up{job="node",agent=""})') $(value 'count(up{job="node",agent!=""})')" "1 "
