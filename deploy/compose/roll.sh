#!/bin/sh
# Puts a new container in the place of each replica of the relay, one at a time,
# with the image and the settings as they are now, and loses no scrape. `docker
# compose up` by itself stops all of them first. Run it where compose.yaml is;
# what is given to it goes to docker compose, such as -p NAME.
set -eu

old=$(docker compose "$@" ps -q relay)
count=$(echo "$old" | wc -l)
for container in $old; do
  # One more, of the new kind, that is ready and that the balancer has found…
  docker compose "$@" up -d --no-deps --no-recreate --wait --scale relay=$((count + 1)) relay
  sleep 3
  # …and one of the old less: it drains before it ends.
  docker stop "$container" >/dev/null
  docker rm "$container" >/dev/null
done
