package webconfig

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v2"
)

var (
	// wrongType is what the parser says of a value of the wrong type, which it quotes.
	wrongType = regexp.MustCompile("(?s)^(line [0-9]+): cannot unmarshal (.*)$")
	// unknownKey is what it says of a key, which it quotes.
	unknownKey = regexp.MustCompile(`(?s)^(line [0-9]+): field (.*) (?:not found|already set) in type `)
	// plainKey is what all keys of the format look like; what else stands where one
	// belongs may be a secret.
	plainKey = regexp.MustCompile(`^[a-z_]{1,40}$`)
)

// fault is what the parser says of the file, in YAML's words, without what it quotes:
// that may be a password or a key.
func fault(err error) error {
	const format = "the format is exporter-toolkit's, https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md"
	typed, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		said := strings.TrimPrefix(err.Error(), "yaml: ")
		switch {
		case strings.HasPrefix(said, "unknown anchor "): // which it quotes
			said = "a value that begins with * must stand in quotes"
		case !strings.HasPrefix(said, "line "):
			said = "is no YAML"
		}
		return fmt.Errorf("%s; %s", said, format)
	}
	var faults []string
	for _, said := range typed.Errors {
		if m := wrongType.FindStringSubmatch(said); m != nil {
			said = m[1] + ": a value of the wrong kind"
		} else if m := unknownKey.FindStringSubmatch(said); m != nil {
			if said = m[1] + ": a key that is unknown, or is there twice"; plainKey.MatchString(m[2]) {
				said += ": " + m[2]
			}
		} else {
			said, _, _ = strings.Cut(said, ":")
		}
		faults = append(faults, said)
	}
	return fmt.Errorf("%s; %s", strings.Join(faults, "; "), format)
}
