#!/bin/sh
# Puts a new container in the place of each replica of the relay, one at a time,
# with the image and the settings as they are now, and loses no scrape. `docker
# compose up` by itself stops all of them first. Run it where compose.yaml is;
# what is given to it goes to docker compose, such as -p NAME.
set -eu

replicas() { docker compose "$@" ps -a -q relay; }

old=$(replicas "$@")
[ -n "$old" ] || { echo "roll: no replica runs in this project; if it was started with docker compose -p NAME, give -p NAME here, too" >&2; exit 1; }
count=$(echo "$old" | wc -l)
for container in $old; do
  before=$(replicas "$@")
  # One more, of the new kind, that is ready and that the balancer has found…
  if ! docker compose "$@" up -d --no-deps --no-recreate --wait --scale relay=$((count + 1)) relay; then
    echo "roll: a new replica does not come up; it is taken away, and the rest stays as it is" >&2
    docker compose "$@" logs --tail 5 relay >&2 || true
    for new in $(replicas "$@"); do
      case $before in *"$new"*) ;; *) docker rm -f "$new" >/dev/null ;; esac
    done
    exit 1
  fi
  sleep 3
  # …and one of the old less: it drains before it ends.
  docker stop "$container" >/dev/null
  docker rm "$container" >/dev/null
done
