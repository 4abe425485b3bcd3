#!/bin/sh
# Makes the key that signs tokens, and from it a token for the agent and one for
# Prometheus, with a job that holds it. Key and tokens that are there stay, so it
# runs at every start. The tokens do not end: nothing here would renew them.
set -eu
umask 077

# put FILE UID TEXT: the file comes about whole or not at all, for that user to
# read, and for root, whose group it has.
put() {
  printf '%s\n' "$3" >"$1.new"
  chmod 0440 "$1.new"
  chown "$2:0" "$1.new"
  mv "$1.new" "$1"
}

relay=65532 agent=65532 prometheus=65534 # the images' users
if [ ! -e /key/key ]; then
  rm -f /tokens/* # of a key that is lost
  put /key/key $relay "$(od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n')"
  echo "made a key"
fi
export FARSCRAPE_KEY_FILE=/key/key
if [ ! -e /tokens/agent.token ]; then
  token=$(farscrape-relay token -ttl 0 -agent demo)
  put /tokens/agent.token $agent "$token"
fi
if [ ! -e /tokens/scraper.token ]; then
  token=$(farscrape-relay token -ttl 0 -scraper prometheus)
  put /tokens/scraper.token $prometheus "$token"
fi
# Proxy mode, as with PushProx: demo is the agent, 9100 its target's port. A token
# in proxy_url cannot be read from a file, so the job is one.
put /tokens/proxy-job.yaml $prometheus "scrape_configs:
  - job_name: farscrape-proxy
    proxy_url: http://prometheus:$(cat /tokens/scraper.token)@balancer:8080
    static_configs:
      - targets: [demo:9100]
        labels: {agent: demo} # as discovery says it: the rules go by it"
