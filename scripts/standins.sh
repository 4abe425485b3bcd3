#!/usr/bin/env bash
# Makes stand-ins for the images that compose.yaml and deploy/Dockerfile name,
# under their very tags, to test with where none can be pulled, and gets Docker's
# compose if it is missing. Images that are there stay. Needs Debian, root, Go and
# a Docker engine. A minute or two.
#
# They have Redis, HAProxy, Prometheus and the node exporter of Debian's next
# release, whose versions are not the tags' own, and this machine's Go with the
# modules that the build needs. There is none for Grafana.
set -euo pipefail
cd "$(dirname "$0")/.."

release=forky # its HAProxy has init-state
base=farscrape-standin
dir=$(mktemp -d)
trap 'rm -rf --one-file-system "$dir"' EXIT

missing() { ! docker image inspect "$1" >/dev/null 2>&1; }

if missing $base; then
  command -v debootstrap >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  }
  # From where this machine has its own packages.
  mirror=$(apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(COMPONENT) $(REPO_URI)' |
    awk '$1 == "Packages" && $2 == "Debian" && $3 == "main" {print $4; exit}')
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

# image NAME FOLDER: a stand-in for the image of that name, with the tag that the
# files give it. The rest of its Dockerfile comes by standard input.
image() {
  local tag
  tag=$(sed -nE "s#^ *(image:|FROM( --platform=[^ ]+)?) +($1:[^ ]+).*#\3#p;T;q" compose.yaml deploy/Dockerfile)
  if missing "$tag"; then
    { echo "FROM $base"; cat; } >"$2/Dockerfile"
    DOCKER_BUILDKIT=0 docker build -q -t "$tag" "$2" 2>"$dir/log" >&2 || { cat "$dir/log" >&2; exit 1; }
    echo "standins: $tag"
  fi
}

mkdir "$dir/golang" "$dir/plain"
cp -a "$(go env GOROOT)" "$dir/golang/go"
# What is in this machine's cache is not downloaded again.
GOMODCACHE=$dir/golang/mod GOFLAGS=-modcacherw \
  GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download
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
