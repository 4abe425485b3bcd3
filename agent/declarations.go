package agent

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// A declaration is one target as the user wrote it.
type declaration struct {
	Name        string            `yaml:"name"`
	URL         string            `yaml:"url"`
	Address     string            `yaml:"address"`
	Labels      map[string]string `yaml:"labels"`
	MaxInflight int               `yaml:"max_inflight"`
	Listed      *bool             `yaml:"listed"` // by service discovery; nil: unless it is a subtree

	HTTP promconfig.HTTPClientConfig `yaml:",inline"`
}

// declarations are the targets that the environment and the file declare, as
// they are now.
func (c *Config) declarations() ([]declaration, error) {
	all, err := parseTargets(c.Targets)
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_TARGETS: %w", err)
	}
	if c.TargetsFile == "" {
		return all, nil
	}
	content, err := settings.ReadFile(c.TargetsFile)
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_TARGETS_FILE: %w: it must be there and readable by the agent", err)
	}
	fromFile, err := parseTargetsFile(content, filepath.Dir(c.TargetsFile))
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_TARGETS_FILE: %s: %w", c.TargetsFile, err)
	}
	return append(all, fromFile...), nil
}

// targetsSetting says what declares the targets.
func (c *Config) targetsSetting() string {
	switch {
	case c.TargetsFile == "":
		return "FARSCRAPE_TARGETS"
	case c.Targets == "":
		return "FARSCRAPE_TARGETS_FILE: " + c.TargetsFile
	}
	return "FARSCRAPE_TARGETS and FARSCRAPE_TARGETS_FILE, " + c.TargetsFile
}

// misparted is the start of another entry behind what does not part them: white
// space, or a semicolon in a path, where no target's URL has one before a name.
var misparted = regexp.MustCompile(`^[^?]*;\s*[^=/;,\s]*=https?://|\s[^=/;,\s]*=https?://`)

// parseTargets reads name=URL,name=URL.
func parseTargets(s string) ([]declaration, error) {
	var all []declaration
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, address, ok := strings.Cut(entry, "=")
		switch {
		case misparted.MatchString(entry):
			return nil, fmt.Errorf("entry %d holds more than one target: put a comma between them", len(all)+1)
		case !ok || !strings.Contains(address, "://"):
			return nil, fmt.Errorf("entry %d is not name=http://host:port/path (entries have a comma between them; one within a URL is written %%2C)", len(all)+1)
		case name == "":
			return nil, fmt.Errorf("entry %d: name is missing", len(all)+1)
		}
		all = append(all, declaration{Name: name, URL: address})
	}
	return all, nil
}

// parseLabels reads FARSCRAPE_LABELS.
func parseLabels(s string) (map[string]string, error) {
	all, err := wire.ParseLabels(s)
	if err != nil { // before a target is blamed for it
		return nil, fmt.Errorf("FARSCRAPE_LABELS: %w", err)
	}
	return all, nil
}
