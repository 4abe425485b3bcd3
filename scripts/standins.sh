#!/usr/bin/env bash
# Makes stand-ins for the images that compose.yaml and deploy/Dockerfile name,
# under their very tags, to test with where none can be pulled. Images that are
# there stay. Needs Debian, root, Go and a Docker engine.
#
# They have Debian's Redis and node exporter, and its HAProxy 3.2, which is the
# next release's; this machine's Go with the modules that the build needs; and
# Prometheus from its Go module, at the version of the tag, without its web pages:
# Debian's is too old for http_headers. There is none for Grafana.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf --one-file-system "$dir"' EXIT
base=farscrape-standin

# tag NAME: the image of that name, as the files have it.
tag() { sed -nE "s#^ *(image:|FROM( --platform=[^ ]+)?) +($1:[^ ]+).*#\3#p" compose.yaml deploy/Dockerfile | head -1; }
missing() { ! docker image inspect "$1" >/dev/null 2>&1; }

debian=$(tag debian) golang=$(tag golang) redis=$(tag redis) haproxy=$(tag haproxy)
exporter=$(tag prom/node-exporter) prometheus=$(tag prom/prometheus)

# image TAG FOLDER: its Dockerfile comes by standard input.
image() {
  cat >"$2/Dockerfile"
  docker build -q -t "$1" "$2" >/dev/null
  echo "standins: $1"
}

# root NAME SUITE PACKAGES: an image of Debian with those packages, from where
# this machine has its own.
root() {
  missing "$1" || return 0
  command -v debootstrap >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
  }
  local mirror
  mirror=$(apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(COMPONENT) $(REPO_URI)' |
    awk '$1 == "Packages" && $2 == "Debian" && $3 == "main" {print $4; exit}')
  debootstrap --variant=minbase --include="$3" "$2" "$dir/$1" "$mirror" /usr/share/debootstrap/scripts/sid >"$dir/log" || { tail -20 "$dir/log" >&2; exit 1; }
  rm -rf "$dir/$1"/var/cache/apt/archives/*.deb "$dir/$1"/var/lib/apt/lists/*
  tar -C "$dir/$1" -c . | docker import - "$1" >/dev/null
}
root $base bookworm ca-certificates,prometheus-node-exporter,redis-server

if missing "$debian"; then
  docker tag $base "$debian"
  echo "standins: $debian"
fi

if missing "$golang"; then
  mkdir "$dir/golang"
  cp -a "$(go env GOROOT)" "$dir/golang/go"
  # What is in this machine's cache is not downloaded again.
  GOMODCACHE=$dir/golang/mod GOFLAGS=-modcacherw \
    GOPROXY="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)" go mod download
  image "$golang" "$dir/golang" <<END
FROM $base
COPY go /usr/local/go
COPY mod /go/pkg/mod
ENV GOPATH=/go GOTOOLCHAIN=local GOPROXY=off PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /go
END
fi

mkdir "$dir/plain"
if missing "$redis"; then
  image "$redis" "$dir/plain" <<END
FROM $base
WORKDIR /data
CMD ["redis-server"]
END
fi
if missing "$haproxy"; then
  root $base-haproxy forky haproxy
  image "$haproxy" "$dir/plain" <<END
FROM $base-haproxy
USER 99:99
STOPSIGNAL SIGUSR1
ENTRYPOINT ["haproxy", "-W", "-db"]
CMD ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]
END
fi
if missing "$exporter"; then
  image "$exporter" "$dir/plain" <<END
FROM $base
USER 65534:65534
ENTRYPOINT ["prometheus-node-exporter"]
END
fi

if missing "$prometheus"; then
  # Of Prometheus, v3.13.5 is the module's v0.313.5.
  version=$(sed -nE 's/.*:v3\.([0-9]+)\.([0-9]+)$/\1 \2/p' <<<"$prometheus")
  version=$(printf 'v0.3%02d.%d' $version)
  module=$(cd / && go mod download -json "github.com/prometheus/prometheus@$version" | sed -nE 's/^\s*"Dir": "(.*)",$/\1/p')
  cp -r "$module" "$dir/prometheus" # built there: its go.mod replaces a module, which go install does not take
  chmod -R u+w "$dir/prometheus"
  mkdir "$dir/built"
  (cd "$dir/prometheus" && GOWORK=off GOFLAGS=-mod=mod CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/prometheus/common/version.Version=${prometheus##*:v}" \
    -tags remove_all_sd,enable_dns_sd -o "$dir/built/" ./cmd/prometheus)
  image "$prometheus" "$dir/built" <<END
FROM $base
COPY prometheus /bin/
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
END
fi
