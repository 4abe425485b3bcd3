#!/usr/bin/env bash
# Runs compose.yaml on a Docker engine from a clean state and shows what it
# promises: every target is up, replicas come and go without a failed scrape,
# whatever is killed, replaced or cut off comes back, the dashboard has data, and
# nothing but the agent reaches the targets. Prints the figures; exits 1 if one is
# missed. Removes all that it made, unless -keep. Needs the ports 8080 and 9090 and
# Docker's compose; scripts/standins.sh makes the images where none can be pulled.
# Seven minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

keep=
case "${1-}" in
  -keep) keep=1 ;;
  '') ;;
  *) echo "usage: scripts/compose-test.sh [-keep]" >&2; exit 2 ;;
esac

project=farscrape-test
crowd=10    # agents besides compose.yaml's one
scrapers=4  # at once
dir=$(mktemp -d)
missed=()
loops=()

dc() { docker compose -p $project --progress quiet "$@"; }
finish() {
  local code=$?
  rm -f "$dir/go"
  [ ${#loops[@]} -eq 0 ] || wait "${loops[@]}" || true
  if [ $code -ne 0 ]; then
    dc logs --no-color --tail 20 relay balancer agent prometheus keys >&2 || true
  fi
  if [ -n "$keep" ]; then
    echo "compose: it stays up: http://localhost:9090/targets. To remove it:"
    echo "  docker rm -f \$(docker ps -aq -f label=$project); docker compose -p $project down -v --rmi local"
  else
    docker ps -aq -f label=$project | xargs -r docker rm -f >/dev/null
    dc down -v --rmi local --remove-orphans >/dev/null 2>&1 || true
  fi
  rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { echo "compose: $*"; }
miss() { missed+=("$*"); say "MISSED: $*"; }
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.1f s", b - a}'; }

# within SECONDS COMMAND…: until it works, and fails if it does not in time.
within() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.2
  done
}

# ask QUERY: the value of its one series, as Prometheus has it; 0 for none, ? if
# Prometheus does not say.
ask() {
  local v
  v=$(curl -fsS -m 5 -G --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query 2>/dev/null) || { echo '?'; return; }
  v=$(sed -nE 's/.*"value":\[[0-9.]+,"([^"]*)"\].*/\1/p' <<<"$v")
  echo "${v:-0}"
}

# up N: N targets, the replicas aside, and every one is up. up_less N: all but N.
scraped='up{job!="farscrape-relay"}' targets='up{job=~"farscrape|farscrape-proxy"}'
up() { [ "$(ask "count($scraped)")" = "$1" ] && [ "$(ask "sum($scraped)")" = "$1" ]; }
up_less() { [ "$(ask "count($scraped)")" = "$all" ] && [ "$(ask "sum($scraped)")" = $((all - $1)) ]; }
replicas_up() { [ "$(ask 'count(up{job="farscrape-relay"})')" = "$1" ] && [ "$(ask 'sum(up{job="farscrape-relay"})')" = "$1" ]; }

# misses SECONDS: the scrapes of targets that Prometheus itself missed lately.
misses() { ask "sum(count_over_time($targets[${1}s]) - sum_over_time($targets[${1}s]))"; }

# links: on each replica.
links() {
  local c
  for c in $(dc ps -q relay); do
    curl -fsS -m 2 "http://$(address "$c" ops):9090/metrics" 2>/dev/null | sed -n 's/^farscrape_relay_links //p'
  done
}
address() { docker inspect -f "{{(index .NetworkSettings.Networks \"${project}_$2\").IPAddress}}" "$1"; }

# spread N: N replicas hold all links, none more than half as many again as its
# share.
spread() {
  links >"$dir/links"
  awk -v n="$1" -v want=$(((crowd + 1) * 2)) '
    {sum += $1; if ($1 > most) most = $1; if ($1 == 0) idle = 1}
    END {exit !(NR == n && sum == want && !idle && most <= 1.5 * want / n)}' "$dir/links"
}

# steady: one scraper, which asks in turn for what there is, over new connections.
steady() {
  local paths=() i=$1 start
  paths=(/scrape/demo/node /scrape/demo/app /scrape/demo/farscrape "proxy http://demo:9100/metrics")
  for n in $(seq $crowd); do paths+=("/scrape/crowd-$n/farscrape"); done
  while [ -e "$dir/go" ]; do
    path=${paths[i++ % ${#paths[@]}]}
    case $path in
      proxy*) where=(-x http://127.0.0.1:8080 "${path#proxy }") ;;
      *) where=("http://127.0.0.1:8080$path") ;;
    esac
    start=$EPOCHREALTIME
    echo "$start $(curl -s -m 5 -K "$dir/curl" -o /dev/null -w '%{http_code} %{exitcode} %{time_total} %header{farscrape-error}' "${where[@]}") $path"
    sleep 0.05
  done >"$dir/steady.$1"
}

# tally FROM [GREP…]: the scrapes since then, all or those that grep finds: how
# many failed, and how.
tally() {
  local from=$1
  shift
  sleep 1
  cat "$dir"/steady.* | grep "${@:-.}" | awk -v from="$from" '
    $1 >= from {n++; if ($2 != 200 || $3 != 0) {f++; how[$2 " curl " $3]++; at = $1 + $4; if (at > last) last = at}}
    END {
      if (n < 50) {print n + 0 " scrapes: too few"; exit}
      printf "%d scrapes, %d failed", n, f
      if (f) {printf ", the last after %.1f s:", last - from; for (h in how) printf " %s ×%d", h, how[h]}
      print ""
    }' | tee "$dir/tally"
}
failed() { sed -E 's/^[0-9]+ scrapes, ([0-9]+) failed.*/\1/' "$dir/tally"; }
# clean AFTER: none failed later than so many seconds after the tally's start.
# A tally of too few is neither.
clean() { ! grep -q 'too few' "$dir/tally" && awk -v after="$1" '{for (i = 1; i < NF; i++) if ($i == "after") exit !($(i + 1) <= after)}' "$dir/tally"; }

started() { docker inspect -f '{{.Name}} {{.State.StartedAt}}' $(dc ps -q redis balancer agent node-exporter app prometheus) $(docker ps -q -f label=$project) | sort; }

for port in 8080 9090; do
  ! (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null || { echo "compose: something listens on port $port" >&2; exit 1; }
done

say "docker compose up"
dc down -v --remove-orphans >/dev/null 2>&1 || true
began=$EPOCHREALTIME
dc build
say "built in $(since "$began"): $(docker image inspect -f '{{.Size}}' $project-relay $project-agent | awk '{printf "%s%.1f MB", (NR > 1 ? ", " : ""), $1 / 1e6}') (relay, agent)"
docker image inspect -f '{{.Size}}' $project-relay $project-agent | awk '$1 >= 20e6 {exit 1}' || miss "images under 20 MB"
began=$EPOCHREALTIME
dc up -d
say "started in $(since "$began")"
within 90 up 5 && within 30 replicas_up 1 || miss "every target up"
say "every target up (3 in path mode, 1 in proxy mode, the agents' page, 1 replica) after $(since "$began")"

say "$crowd more agents, and $scrapers scrapers that never stop"
token() { dc run --rm --no-deps -T --entrypoint "$1" keys "${@:2}"; }
export FARSCRAPE_TOKEN
FARSCRAPE_TOKEN=$(dc exec -T relay /farscrape-relay token -agent 'crowd-*' 2>/dev/null)
for n in $(seq $crowd); do
  docker run -d --label $project --network ${project}_uplink --read-only -e FARSCRAPE_TOKEN -e FARSCRAPE_NAME=crowd-$n \
    -e FARSCRAPE_RELAY_URL=http://balancer:8080 -e FARSCRAPE_EPHEMERAL=true $project-agent >/dev/null
done
unset FARSCRAPE_TOKEN
all=$((5 + crowd))
within 60 up $all || miss "the crowd up"
(umask 077; printf 'header = "Farscrape-Token: %s"\n' "$(token cat /tokens/scraper.token)" >"$dir/curl")
touch "$dir/go"
for i in $(seq $scrapers); do
  steady "$i" &
  loops+=($!)
done

started >"$dir/started"
for n in 3 5 2; do
  began=$EPOCHREALTIME mark=$SECONDS
  dc up -d --scale relay=$n
  took=$(since "$began")
  within 120 spread "$n" || miss "links spread over $n replicas"
  even=$(since "$began")
  within 30 replicas_up "$n" || miss "$n replicas up"
  sleep 3
  say "--scale relay=$n took $took; links $(echo $(cat "$dir/links")) after $even; $(tally "$began"); Prometheus missed $(misses $((SECONDS - mark)))"
  [ "$(failed)" = 0 ] || miss "0 scrapes failed at relay=$n"
done
started | diff "$dir/started" - && say "nothing else restarted" || miss "nothing else restarted"

# strike SERVICE SECONDS: kills it, starts it again after so long, and waits
# until all is as it was.
strike() {
  local c
  c=$(dc ps -q "$1")
  c=${c%%$'\n'*} # the first
  began=$EPOCHREALTIME mark=$SECONDS
  docker kill "$c" >/dev/null
  sleep "$2"
  docker start "$c" >/dev/null
  again=$EPOCHREALTIME
  within 60 up $all || miss "every target up after docker kill of $1"
  back=$(since "$again")
  within 90 spread 2 || miss "links spread after docker kill of $1"
  even=$(since "$again")
  sleep 6 # Prometheus's next round
  within 60 up $all || miss "every target stays up after docker kill of $1"
  say "docker kill of $1, started again after $2 s: $(tally "$began"); Prometheus missed $(misses $((SECONDS - mark))), all up $back after the start, links $(echo $(cat "$dir/links")) after $even"
}
strike relay 5
[ "$(failed)" -le $scrapers ] || miss "failed are at most those that the killed replica was answering"
strike redis 10
[ "$(failed)" = 0 ] || miss "0 scrapes failed without Redis"
strike balancer 3
clean 8 || miss "scrapes again within 5 s of the balancer's start"

say "deploy/compose/roll.sh, and docker compose up --force-recreate"
began=$EPOCHREALTIME mark=$SECONDS
sh deploy/compose/roll.sh -p $project --progress quiet
took=$(since "$began")
within 90 spread 2 || miss "links spread after roll.sh"
within 30 replicas_up 2 && up $all || miss "every target up after roll.sh"
say "two replicas replaced in $took: $(tally "$began"); Prometheus missed $(misses $((SECONDS - mark))), links $(echo $(cat "$dir/links"))"
[ "$(failed)" = 0 ] || miss "0 scrapes failed at roll.sh"
began=$EPOCHREALTIME mark=$SECONDS
dc up -d --no-deps --force-recreate --scale relay=2 relay
took=$(since "$began")
within 60 up $all && within 90 spread 2 || miss "every target up after --force-recreate"
say "two replicas recreated at once in $took: $(tally "$began"); Prometheus missed $(misses $((SECONDS - mark)))"
clean 15 || miss "scrapes again within 15 s of --force-recreate"

say "the agent's network is cut for a minute"
began=$EPOCHREALTIME mark=$SECONDS
agent=$(dc ps -q agent)
docker network disconnect ${project}_uplink "$agent"
sleep 60
docker network connect ${project}_uplink "$agent"
again=$EPOCHREALTIME
within 60 up $all || miss "every target up after the cut"
back=$(since "$again")
say "its own targets: $(tally "$began" demo)"
say "all others: $(tally "$began" -v demo)"
[ "$(failed)" = 0 ] || miss "0 scrapes of other agents failed"
say "all up $back after it was restored; Prometheus missed $(misses $((SECONDS - mark)))"

say "a target is killed"
began=$EPOCHREALTIME
dc kill app
within 30 up_less 1 || miss "one target down, and no other"
down=$(since "$began")
sleep 12 # two rounds more, for rates to show it
dc start app
again=$EPOCHREALTIME
within 30 up $all || miss "every target up after docker kill of app"
say "down after $down, up again $(since "$again") after its start"

rm "$dir/go"
wait "${loops[@]}"
loops=()

say "the dashboard's queries and the rules, in Prometheus"
bash deploy/grafana/queries.sh >"$dir/queries"
none=0
while read -r query; do
  case $(ask "count($query)") in 0 | '?') none=$((none + 1)); say "no data: $query" ;; esac
done <"$dir/queries"
say "$none of $(wc -l <"$dir/queries") queries return no data"
[ "$none" = 0 ] || miss "every panel has data"
health() { curl -fsS http://127.0.0.1:9090/api/v1/rules | grep -o "\"health\":\"$1" | wc -l; }
say "$(health ok) rules evaluated"
[ "$(health ok)" -gt 0 ] && [ "$(health err)" = 0 ] || miss "rules are evaluated, and none fails"

say "who reaches the node exporter"
target=$(address "$(dc ps -q node-exporter)" site)
# reach NETWORK: from a container there.
reach() {
  docker run --rm --label $project --network "${project}_$1" --entrypoint bash $project-keys -c \
    "timeout 3 bash -c ': >/dev/tcp/$target/9100' || timeout 3 bash -c ': >/dev/tcp/node-exporter/9100'" 2>/dev/null
}
reach site && say "from site: yes" || miss "the node exporter answers where it is"
for network in relays ops scrapers uplink graphs; do
  ! docker network inspect "${project}_$network" >/dev/null 2>&1 && continue
  if reach $network; then miss "no way from $network to the node exporter"; else say "from $network: no"; fi
done
published=$(docker inspect -f '{{.Name}}{{range $p, $to := .NetworkSettings.Ports}}{{if $to}} {{$p}}{{end}}{{end}}' $(dc ps -q node-exporter app agent) | awk 'NF > 1')
[ -z "$published" ] && say "the site publishes no port" || miss "the site publishes no port: $published"

if [ ${#missed[@]} -gt 0 ]; then
  say "missed: ${#missed[@]}"
  exit 1
fi
say "done in $SECONDS s"
