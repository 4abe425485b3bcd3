package agent

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
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

// A targetsFile is a list of targets, bare or under targets.
type targetsFile struct {
	Targets []declaration `yaml:"targets"`
}

// UnmarshalYAML reads either form.
func (f *targetsFile) UnmarshalYAML(unmarshal func(any) error) error {
	var bare []anything
	if unmarshal(&bare) == nil {
		return unmarshal(&f.Targets)
	}
	type mapping targetsFile // which has no UnmarshalYAML
	return unmarshal((*mapping)(f))
}

// anything is any YAML at all.
type anything struct{}

// UnmarshalYAML takes it and keeps nothing.
func (anything) UnmarshalYAML(func(any) error) error { return nil }

// parseTargetsFile reads YAML or JSON, which is YAML too. A field that it does
// not know is an error with its line, so that a slip of the pen is not a target
// without a password. Paths in the file are relative to dir.
func parseTargetsFile(content []byte, dir string) ([]declaration, error) {
	var file targetsFile
	if err := yaml.UnmarshalStrict(content, &file); err != nil {
		return nil, withoutValues(err)
	}
	for i := range file.Targets {
		file.Targets[i].HTTP.SetDirectory(dir)
	}
	return file.Targets, nil
}

// withoutValues cuts what the parser quotes of the file out of its error, since it
// may be a password, and says the rest in YAML's words, not in Go's.
func withoutValues(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		return fmt.Errorf("not a URL: %w", address.Err)
	}
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var lines []string
	for _, line := range typed.Errors {
		if m := wrongType.FindStringSubmatch(line); m != nil {
			line = fmt.Sprintf("%s: there is %s where %s belongs", m[1], foundKind(m[2]), wantedKind(m[3]))
		}
		line, _, _ = strings.Cut(line, " in type ")
		lines = append(lines, line)
	}
	return errors.New(strings.Join(lines, "; "))
}

// wrongType is what the parser says of a value of the wrong type: the line, the
// YAML tag, the value and the Go type.
var wrongType = regexp.MustCompile("(?s)^(line [0-9]+): cannot unmarshal !!([a-z]+)(?: `.*`)? into (.*)$")

// foundKind names a YAML tag.
func foundKind(tag string) string {
	switch tag {
	case "seq":
		return "a list"
	case "map":
		return "a mapping"
	case "int", "float":
		return "a number"
	case "bool":
		return "true or false"
	}
	return "a text"
}

// wantedKind names what a Go type is in YAML.
func wantedKind(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.HasPrefix(goType, "int"):
		return "a whole number"
	case goType == "bool":
		return "true or false"
	case goType == "string", strings.HasSuffix(goType, ".Secret"), strings.HasSuffix(goType, ".URL"):
		return "a text"
	}
	return "a mapping of fields"
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
