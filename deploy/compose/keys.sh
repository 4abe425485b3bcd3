#!/bin/sh
# Makes the key that signs tokens, and from it a token for the agent and one for
# Prometheus. What is there stays, so it runs at every start.
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
  rm -f /tokens/*.token # of a key that is lost
  put /key/key $relay "$(od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n')"
  echo "made a key"
fi
export FARSCRAPE_KEY_FILE=/key/key
if [ ! -e /tokens/agent.token ]; then
  token=$(farscrape-relay token -agent demo)
  put /tokens/agent.token $agent "$token"
fi
if [ ! -e /tokens/scraper.token ]; then
  token=$(farscrape-relay token -scraper prometheus)
  put /tokens/scraper.token $prometheus "$token"
fi
