package settings

import (
	"cmp"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
)

// version is set by a release: -ldflags '-X …/relay/settings.version=v1.2.3'.
// Nothing else writes it.
var version string

// Version is the release, or for want of one the module's version, or the
// revision it was built from.
func Version() string {
	v, _, _ := build()
	return v
}

// BuildInfo is farscrape_<component>_build_info, which is always 1.
func BuildInfo(component string) prometheus.Collector {
	v, goversion, revision := build()
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace:   "farscrape",
		Subsystem:   component,
		Name:        "build_info",
		Help:        "What this was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": v, "goversion": goversion, "revision": revision},
	}, func() float64 { return 1 })
}

func build() (v, goversion, revision string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "unknown"), "unknown", "unknown"
	}
	dirty := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "-dirty"
			}
		}
	}
	if revision != "" {
		revision += dirty
	}
	module := info.Main.Version
	if module == "(devel)" {
		module = ""
	}
	return cmp.Or(version, module, revision, "devel"), info.GoVersion, cmp.Or(revision, "unknown")
}
