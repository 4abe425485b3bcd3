#!/usr/bin/env bash
# Makes stand-ins for the images that compose.yaml and deploy/Dockerfile name and
# that cannot be pulled, under their very tags, to test with, and gets Docker's
# compose if it is missing. Images that are there stay. Needs Debian, root, Go and
# a Docker engine. A minute or two.
#
#   scripts/standins.sh -rm   removes them again
#
# They have Redis, HAProxy, Prometheus and the node exporter of Debian's next
# release, whose versions are not the tags' own, and this machine's Go with the
# modules that the build needs. There is none for Grafana.
set -euo pipefail
cd "$(dirname "$0")/.."

release=forky # its HAProxy has init-state
base=farscrape-standin
missing() { ! docker image inspect "$1" >/dev/null 2>&1; }

case "${1-}" in
  -rm)
    docker image ls -q -f label=$base | sort -u | xargs -r docker rmi -f >/dev/null
    missing $base || docker rmi -f $base >/dev/null
    exit
    ;;
  '') ;;
  *) echo "usage: scripts/standins.sh [-rm]" >&2; exit 2 ;;
esac

# tag NAME: the image of that name, as the files have it.
tag() { sed -nE "s#^ *(image:|FROM( --platform=[^ ]+)?) +($1:[^ ]+).*#\3#p;T;q" compose.yaml deploy/Dockerfile; }

# One that has another go.sum's modules is of no use: it downloads nothing.
modules=$(sha256sum <go.sum | cut -c1-16)
golang=$(tag golang)
case $(docker image inspect -f "{{index .Config.Labels \"$base\"}}" "$golang" 2>/dev/null) in
  '' | "$modules") ;;
  *) docker rmi -f "$golang" >/dev/null ;;
esac

needed=
for name in golang debian redis haproxy prom/node-exporter prom/prometheus; do
  image=$(tag $name)
  if missing "$image" && ! timeout 60 docker pull -q "$image" >/dev/null 2>&1; then
    needed=1
  fi
done
if [ -z "$needed" ] && docker compose version >/dev/null 2>&1; then
  exit
fi
dir=$(mktemp -d)
trap 'rm -rf --one-file-system "$dir"' EXIT

if missing $base; then
  command -v debootstrap >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  }
  # From where this machine has its own packages.
  mirror=$(apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(COMPONENT) $(REPO_URI)' |
    awk '$1 == "Packages" && $2 == "Debian" && $3 == "main" && !n++ {print $4}')
  debootstrap --variant=minbase --include=ca-certificates,docker-compose,haproxy,prometheus,prometheus-node-exporter,redis-server \
    $release "$dir/$base" "$mirror" /usr/share/debootstrap/scripts/sid >"$dir/log" || { tail -20 "$dir/log" >&2; exit 1; }
  rm -rf "$dir/$base"/var/cache/apt/archives/*.deb "$dir/$base"/var/lib/apt/lists/*
  tar -C "$dir/$base" -c . | docker import - $base >/dev/null
fi

if ! docker compose version >/dev/null 2>&1; then
  mkdir -p ~/.docker/cli-plugins
  container=$(docker create $base true)
  docker cp "$container:/usr/libexec/docker/cli-plugins/docker-compose" ~/.docker/cli-plugins/
  docker rm "$container" >/dev/null
fi

# image NAME FOLDER: a stand-in for the image of that name, if one is needed. The
# rest of its Dockerfile comes by standard input.
image() {
  local tag
  tag=$(tag "$1")
  if missing "$tag"; then
    { printf 'FROM %s\nLABEL %s=%s\n' $base $base "$modules"; cat; } >"$2/Dockerfile"
    DOCKER_BUILDKIT=0 docker build -q -t "$tag" "$2" 2>"$dir/log" >&2 || { cat "$dir/log" >&2; exit 1; }
    echo "standins: $tag"
  fi
}

mkdir "$dir/golang" "$dir/plain"
if missing "$golang"; then
  cp -a "$(go env GOROOT)" "$dir/golang/go"
  # What is in this machine's cache is not downloaded again.
  GOMODCACHE=$dir/golang/mod GOFLAGS=-modcacherw \
    GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download
fi
image golang "$dir/golang" <<END
COPY go /usr/local/go
COPY mod /go/pkg/mod
ENV GOPATH=/go GOTOOLCHAIN=local GOPROXY=off PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
END
image debian "$dir/plain" <<END
CMD ["bash"]
END
image redis "$dir/plain" <<END
WORKDIR /data
CMD ["redis-server"]
END
image haproxy "$dir/plain" <<END
USER 99:99
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy", "-W", "-db"]
CMD ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]
END
image prom/node-exporter "$dir/plain" <<END
USER 65534:65534
ENTRYPOINT ["prometheus-node-exporter"]
END
image prom/prometheus "$dir/plain" <<END
RUN mkdir -p /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
END
