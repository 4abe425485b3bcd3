package agent

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v2"

	"github.com/farscrape/farscrape/relay/settings"
)

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
		return nil, fmt.Errorf("FARSCRAPE_TARGETS_FILE: %w", err)
	}
	fromFile, err := parseTargetsFile(content, filepath.Dir(c.TargetsFile))
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_TARGETS_FILE: %s: %w", c.TargetsFile, err)
	}
	return append(all, fromFile...), nil
}

// parseTargetsFile reads YAML or JSON, which is YAML too. A field that it does
// not know is an error with its line, so that a slip of the pen is not a target
// without a password. Paths in the file are relative to dir.
func parseTargetsFile(content []byte, dir string) ([]declaration, error) {
	var file struct {
		Targets []declaration `yaml:"targets"`
	}
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		return nil, withoutValues(err)
	}
	for i := range file.Targets {
		file.Targets[i].HTTP.SetDirectory(dir)
	}
	return file.Targets, nil
}

// withoutValues cuts what the parser quotes of the file out of its error: it may
// be a password.
func withoutValues(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		return fmt.Errorf("not a URL: %w", address.Err)
	}
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return err
	}
	var lines []string
	for _, line := range typed.Errors {
		if before, after, ok := strings.Cut(line, "`"); ok {
			_, after, _ = strings.Cut(after, "`")
			line = before + "that" + after
		}
		line, _, _ = strings.Cut(line, " in type ")
		lines = append(lines, line)
	}
	return errors.New(strings.Join(lines, "; "))
}

// parseTargets reads name=URL,name=URL.
func parseTargets(s string) ([]declaration, error) {
	var all []declaration
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, address, ok := strings.Cut(entry, "=")
		if !ok || !strings.Contains(address, "://") {
			return nil, fmt.Errorf("entry %d is not name=http://host:port/path (a comma within a URL is written %%2C)", len(all)+1)
		}
		all = append(all, declaration{Name: name, URL: address})
	}
	return all, nil
}

// parseLabels reads name=value,name=value.
func parseLabels(s string) (map[string]string, error) {
	all := make(map[string]string)
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		if _, twice := all[name]; twice || !ok {
			return nil, fmt.Errorf("FARSCRAPE_LABELS: %q is not name=value, or is there twice", entry)
		}
		all[name] = value
	}
	return all, nil
}
