package agent

import (
	"fmt"

	"go.yaml.in/yaml/v2"
)

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
		return nil, fileFault(err, content)
	}
	for i := range file.Targets {
		if file.Targets[i].Name == "" {
			return nil, fmt.Errorf("target %d of the list: name is missing", i+1)
		}
		file.Targets[i].HTTP.SetDirectory(dir)
	}
	return file.Targets, nil
}
