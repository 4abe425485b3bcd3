#!/usr/bin/env bash
# The machines that a page is followed on, and the words of its table. It is the
# first process of namespaces of its own: scripts/pages.sh starts it.
#
# The page's own shell is on one machine, the others are reached through a switch:
#
#   10.0.0.1   the shell's, with Prometheus
#   10.0.0.2   redis
#   10.0.0.3   front: relay.example.com
#   10.0.0.5   relay-1
#   10.0.0.6   relay-2
#   10.1.0.2   site, behind NAT: it reaches the front, and nobody reaches it
set -eEuo pipefail
dir=$1 name=$2
bin=$dir/bin blocks=$dir/$name.blocks logs=$dir/$name.logs
mkdir "$blocks" "$logs"
PATH=$bin:$PATH
table=$PWD/scripts/pages/$name.sh

declare -A pid=()
lines=()
step= page= block= position=0 edits=()
say() { echo "pages: ${page:-$name}: $*"; }
fail() { echo "$*" >"$logs/why"; exit 1; }
finish() {
  local code=$?
  [ $code -ne 0 ] || return 0
  {
    say "$step … FAILED${block:+ at or after line ${lines[position - 1]}}"
    [ ! -e "$logs/why" ] || cat "$logs/why"
    [ -z "$block" ] || sed 's/^/    /' "$block"
    for log in "$logs"/*; do
      [ ! -s "$log" ] || tail -n 15 -v "$log"
    done
  } >&2
}
trap finish EXIT

# --- the machines

# What is written outside of the world's folder and Go's cache does not reach the
# real machine: it goes to memory that the world takes with it, or fails.
overlay() {
  mkdir -p "/run/overlay$1"/{upper,work}
  mount -t overlay overlay -o "lowerdir=$1,upperdir=/run/overlay$1/upper,workdir=/run/overlay$1/work" "$1"
}
mount -t tmpfs tmpfs /run
mkdir /run/netns /run/lock /run/world
mount --bind "$dir" /run/world
mount -t tmpfs tmpfs /tmp
mkdir -p "$dir"
mount --bind /run/world "$dir"
umount /run/world
cd "$dir/$name"
for folder in /etc /var /usr/local/bin; do overlay "$folder"; done
mount --bind "$GOCACHE" "$GOCACHE"
# Also what is mounted below /, such as cgroups: none but these may be written.
while read -r at; do
  case $at in
    /run | /run/* | /tmp | /tmp/* | /etc | /var | /var/* | /usr/local/bin | /proc | /dev | /dev/* | "$dir" | "$GOCACHE") ;;
    *) mount -o remount,bind,ro "$at" ;;
  esac
done < <(findmnt -rn -o TARGET)
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
for folder in / /root /usr /home /proc/sys/kernel /sys/fs/cgroup; do
  ! { : >"$folder/.written"; } 2>/dev/null || fail "$folder may be written, and is the real machine's"
done
cat >/etc/hosts <<END
127.0.0.1 localhost app.internal
10.0.0.2 redis redis.internal
10.0.0.3 relay.example.com
10.0.0.5 relay-1 relay-1.internal relay
10.0.0.6 relay-2 relay-2.internal relay
END
: >/etc/resolv.conf # nothing else is there

machine() { # NAME ADDRESS
  ip netns add "$1"
  ip link add name "to-$1" type veth peer name eth0 netns "$1"
  ip link set "to-$1" up master switch
  ip -n "$1" link set lo up
  ip -n "$1" link set eth0 up
  ip -n "$1" address add "$2/24" dev eth0
}
ip link set lo up
ip link add name switch type bridge
ip link set switch up
ip address add 10.0.0.1/24 dev switch
machine redis 10.0.0.2
machine front 10.0.0.3
machine relay-1 10.0.0.5
machine relay-2 10.0.0.6
ip netns add site
ip link add name site netns front type veth peer name eth0 netns site
ip -n site link set lo up
ip -n site link set eth0 up
ip -n site address add 10.1.0.2/24 dev eth0
ip -n site route add 10.0.0.3 dev eth0
ip -n front link set site up
ip -n front route add 10.1.0.2 dev site

# on MACHINE COMMAND…: there; the shell's own is called here.
on() {
  local where=$1; shift
  if [ "$where" = here ]; then "$@"; else nsenter --net="/run/netns/$where" "$@"; fi
}

# spawn NAME MACHINE COMMAND…: in the background. NAME is its log's, and what
# stops it.
spawn() {
  local as=$1 where=$2; shift 2
  if [ "$where" = here ]; then where=; else where="nsenter --net=/run/netns/$where"; fi
  setsid $where "$@" >>"$logs/$as" 2>&1 </dev/null &
  pid[$as]=$!
}

# stop NAME [SIGNAL]: with all that it started, and waits for its end.
stop() {
  kill "-${2-TERM}" -- "-${pid[$1]}"
  wait "${pid[$1]}" 2>/dev/null || true
  unset "pid[$1]"
}

# await SECONDS WHAT COMMAND…: until it works.
await() {
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "not in time: $what: $*"
    sleep 0.2
  done
}

# expect WHAT IS WANTED: the two are equal.
expect() { [ "$2" = "$3" ] || fail "$1: '$2', and expected '$3'"; }

# --- the words of a table

# page FILE: whose blocks come now.
page() {
  end
  page=$1 position=0 block=
  "$bin/pages" blocks "$dir/$name/$page" "$blocks" >"$logs/blocks"
  mapfile -t lines <"$logs/blocks"
}

# step NAME: the one before is done.
step() {
  [ -z "$step" ] || say "$step … ok"
  step=$1
}

# change SED WHY: what is done to the next block before it is run or written.
change() { edits+=(-e "$1"); }

# take BEGINNING: the next block, which begins so.
take() {
  [ $position -lt ${#lines[@]} ] || fail "the page has no more blocks; the table has: $1"
  position=$((position + 1))
  block=$blocks/$position
  case $(head -n 1 "$block") in
    "$1"*) ;;
    *) fail "$page:${lines[position - 1]} is not in the table, which has here: $1" ;;
  esac
  [ ${#edits[@]} -gt 0 ] || return 0
  local before edit
  for edit in "${edits[@]}"; do
    [ "$edit" != -e ] || continue
    before=$(cat "$block")
    sed -i -e "$edit" "$block"
    [ "$before" != "$(cat "$block")" ] || fail "there is nothing to change: $edit"
  done
  edits=()
}

# run BEGINNING: in the page's shell.
run() {
  take "$1"
  . "$block" >>"$logs/shell" 2>&1
}

# serve BEGINNING NAME MACHINE: a command that does not end, as spawn has it.
serve() {
  take "$1"
  served=$block
  spawn "$2" "$3" bash -e "$served"
}

# again NAME MACHINE [SED]: what was served last, changed so.
again() {
  sed "${3-}" "$served" >"$served.$1"
  [ -z "${3-}" ] || ! cmp -s "$served" "$served.$1" || fail "there is nothing to change: $3"
  spawn "$1" "$2" bash -e "$served.$1"
}

# write BEGINNING FILE: the file that the text names.
write() {
  take "$1"
  cp "$block" "$2"
}

# leave BEGINNING WHY: neither.
leave() { take "$1"; }

# end of the table.
end() {
  step ''
  step=
  [ $position -eq ${#lines[@]} ] || fail "$page:${lines[position]} is not in the table"
}

# --- what the pages take for granted

# authority: a CA of the world's own, and its certificate for a name, as the fronts'
# files name them.
authority() {
  mkdir -p /etc/farscrape/tls
  (
    cd /etc/farscrape/tls
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj '/CN=CA of your own' -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout relay.key -out relay.csr
    openssl x509 -req -in relay.csr -CA ca.pem -CAkey ca.key -days 1 -extfile <(echo "subjectAltName=DNS:$1") -out relay.crt
    cat relay.crt relay.key >relay.pem
  ) 2>/dev/null
}
# self_signed NAME FILE: FILE.pem and FILE.key.
self_signed() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
    -keyout "$2.key" -out "$2.pem" 2>/dev/null
}
# trusted: the system trusts that CA, as if it were a public one.
trusted() { cat /etc/farscrape/tls/ca.pem >>/etc/ssl/certs/ca-certificates.crt; }

redis() { # MACHINE [OPTION…]
  local where=$1; shift
  spawn redis "$where" redis-server --bind '*' --protected-mode no --save '' --maxmemory-policy noeviction --dir "$logs" "$@"
  await 10 Redis on "$where" redis-cli ping
}

# web NAME MACHINE <SERVER: an nginx with that server block.
web() {
  {
    echo "daemon off; user root; pid $logs/$1.pid; error_log stderr;"
    echo "events {} http { access_log off; server {"
    cat
    echo "} }"
  } >"$dir/$name.$1.conf"
  spawn "$1" "$2" nginx -c "$dir/$name.$1.conf"
}

# haproxy_front MACHINE FILE: as it stands.
haproxy_front() {
  local conf=$2
  # What the page says under Descriptors.
  if [ "$(ulimit -Hn)" -lt 60100 ]; then
    sed "s/^\( *maxconn\) 30000/\1 $((($(ulimit -Hn) - 200) / 2))/" "$2" >"$dir/$name.haproxy.cfg"
    conf=$dir/$name.haproxy.cfg
  fi
  spawn front "$1" haproxy -db -f "$conf"
}

# keys: a key and tokens, as README has them made.
keys() {
  umask 077
  openssl rand -hex 32 >key
  export FARSCRAPE_KEY_FILE=$PWD/key
  farscrape-relay token -agent edge-1 >edge-1.token 2>>"$logs/shell"
  farscrape-relay token -scraper prometheus >scraper.token 2>>"$logs/shell"
}

# relay NAME MACHINE [VARIABLE=VALUE]…: as README has it, but that nobody waits
# for agents to be back.
relay() {
  local as=$1 where=$2; shift 2
  spawn "$as" "$where" env FARSCRAPE_LISTEN=:8080 FARSCRAPE_OPS_LISTEN=:9090 FARSCRAPE_REDIS_URL=redis://redis:6379 \
    FARSCRAPE_PUBLIC_URL=https://relay.example.com FARSCRAPE_SD_GRACE=1s "$@" farscrape-relay
  await 20 "$as is ready" on "$where" curl -fsS http://localhost:9090/-/ready
  # A Prometheus that is told to wait asks again a minute later.
  await 20 "$as lists agents" on "$where" curl -fsS -o "$logs/listed" -H "Authorization: Bearer $(cat scraper.token)" http://localhost:8080/sd
}

# stack [VARIABLE=VALUE]…: all that README has up to the agents.
stack() {
  keys
  redis redis
  relay relay-1 relay-1 "$@"
  relay relay-2 relay-2 "$@"
  authority relay.example.com
  trusted
  haproxy_front front deploy/fronts/haproxy.cfg
  await 20 "the front" curl -fsS https://relay.example.com/-/ready
}

# linked AGENT LINKS: its log has so many.
linked() { await 60 "$2 links of $1" eval '[ "$(grep -c msg=linked "$logs/'"$1"'")" -ge '"$2"' ]'; }

# agent NAME [VARIABLE=VALUE]…: behind NAT, with its two links.
agent() {
  local as=$1; shift
  spawn "$as" site env FARSCRAPE_RELAY_URL=https://relay.example.com "$@" farscrape-agent
  linked "$as" 2
}

exporter() { spawn node site prometheus-node-exporter --web.listen-address="${1-localhost}:9100" --log.level=error; }

# prometheus_on MACHINE FILE: Prometheus with that configuration.
prometheus_on() {
  spawn "prometheus-$1" "$1" prometheus --config.file="$2" --storage.tsdb.path="$dir/$name.tsdb-$1" --web.listen-address=127.0.0.1:9090
  await 20 Prometheus on "$1" curl -fsS http://127.0.0.1:9090/-/ready
}

# prometheus_with FILE: the shell's, with the jobs in it, scraped each second.
prometheus_with() {
  { echo 'global: {scrape_interval: 1s, scrape_timeout: 1s}'; cat "$1"; } >"$1.fast"
  prometheus_on here "$1.fast"
}

# jobs <JOBS: as a file's scrape_configs.
jobs() { echo scrape_configs:; sed 's/^/  /'; }

# stand_in COMMAND…: each of these commands is one that only sees that the files
# it is given are there: it takes an account, or a cluster.
stand_in() {
  local command
  for command; do eval "$command() { given_files \"\$@\"; }"; done
}
given_files() {
  local word before=
  for word; do
    case $before=$word in
      *=file://*) word=${word#file://} ;;
      *=--*file=*) word=${word##*=} ;;
      --file=* | --yaml=* | -f=* | *=*.yaml) ;;
      *) before=$word; continue ;;
    esac
    [ "$word" = - ] || [ -s "$word" ] || fail "there is no $word"
    before=$word
  done
}

# value QUERY: of its series, a line each, as Prometheus has it now.
value() {
  curl -fsS -m 5 -G --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | jq -r '.data.result[].value[1]'
}
is() { [ "$(value "$1")" = "$2" ]; } # QUERY VALUE

# ask TOKEN-FILE URL [CURL'S…]: status and reason.
ask() {
  local token=$1; shift
  curl -s -m 20 -o "$logs/answer" -w '%{http_code} %header{farscrape-error}' -H @<(echo "Authorization: Bearer $(cat "$token")") "$@"
}

. "$table"
end
