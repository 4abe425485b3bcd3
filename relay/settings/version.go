package settings

import (
	"cmp"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
)

// Version is the release, which the linker stamps on github.com/prometheus/common's
// version.Version; or for want of one the module's version, or the revision that
// this was built from.
func Version() string {
	module := ""
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "(devel)" {
		module = info.Main.Version
	}
	return cmp.Or(version.Version, module, version.GetRevision())
}

// BuildInfo is farscrape_<component>_build_info, which is always 1.
func BuildInfo(component string) prometheus.Collector {
	return versioncollector.NewCollector("farscrape_"+component,
		versioncollector.WithExtraConstLabels(prometheus.Labels{"version": Version()}))
}
