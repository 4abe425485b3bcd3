package agent

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v2"
)

// fileFault is what the parser says of a targets file, in YAML's words, not in Go's,
// and with the mend. What it quotes of the file may be a password, and is cut out.
func fileFault(err error, content []byte) error {
	if address, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("not a URL: %w", address.Err)
	}
	typed, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return notYAML(err)
	}
	var faults []string
	for _, fault := range typed.Errors {
		if m := wrongType.FindStringSubmatch(fault); m != nil {
			fault = fmt.Sprintf("%s: there is %s where %s belongs", m[1], foundKind(m[2]), wantedKind(m[3]))
			if m[3] == wholeFile {
				fault += ": write targets: and a list, or the list alone"
			}
		} else if m := unknownKey.FindStringSubmatch(fault); m != nil {
			fault = fmt.Sprintf("line %s: unknown key%s: known here %s", m[1], quotedKey(m[2], m[1], content), knownKeys(m[3]))
		}
		fault, _, _ = strings.Cut(fault, " in type ")
		faults = append(faults, fault)
	}
	return errors.New(strings.Join(faults, "; "))
}

var (
	// wrongType is what the parser says of a value of the wrong type: the line, the
	// YAML tag, the value and the Go type.
	wrongType = regexp.MustCompile("(?s)^(line [0-9]+): cannot unmarshal (?:!!)?(\\S*)(?: `.*`)? into (.*)$")
	// unknownKey is what it says of a key: the line's number, the key, the Go type.
	unknownKey = regexp.MustCompile(`(?s)^line ([0-9]+): field (.*) not found in type (\S+)$`)
	// atLine is where it gave up, which may be a line early.
	atLine = regexp.MustCompile(`^(line [0-9]+): `)
	// keyName is what all known keys look like, and nearly all slips of them.
	keyName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// wholeFile is the Go type of a file that is no bare list.
const wholeFile = "agent.mapping"

// notYAML is a fault that is not one of types. The parser quotes what it has no line
// for, but for the syntax.
func notYAML(err error) error {
	said, ours := strings.CutPrefix(err.Error(), "yaml: ")
	switch {
	case !ours:
		return err
	case strings.HasPrefix(said, "unknown anchor "):
		return errors.New("a value that starts with * must stand in quotes")
	case strings.HasPrefix(said, "anchor "):
		return errors.New("an anchor's value contains itself")
	case strings.HasPrefix(said, "cannot decode "):
		return errors.New("a value is not what the !! tag before it says: take the tag away")
	case strings.HasPrefix(said, "invalid map key"):
		return errors.New("a key is a list or a mapping: it must be a text")
	}
	return errors.New(atLine.ReplaceAllString(said, "near $1, or the line after: ") + "; indent with spaces")
}

// quotedKey quotes a key, if that is what it is in its line: a password without a
// colon, or right behind one, is a key to the parser, too.
func quotedKey(key, line string, content []byte) string {
	n, err := strconv.Atoi(line)
	lines := strings.Split(string(content), "\n")
	if err == nil && n <= len(lines) && keyName.MatchString(key) &&
		regexp.MustCompile(`(^|[\s{,"'])`+key+`["']?\s*:`).MatchString(lines[n-1]) {
		return fmt.Sprintf(" %q", key)
	}
	return ", or no space behind its colon"
}

// knownKeys says which keys belong where the parser fills that Go type. Of the types
// of Prometheus's library it gives one name for most.
func knownKeys(goType string) string {
	switch goType {
	case wholeFile:
		return "is targets"
	case reflect.TypeFor[declaration]().String():
		var keys []string
		for _, f := range reflect.VisibleFields(reflect.TypeFor[declaration]()) {
			if key, options, _ := strings.Cut(f.Tag.Get("yaml"), ","); options != "inline" {
				keys = append(keys, key)
			}
		}
		return "are " + strings.Join(keys, ", ") + " and Prometheus's HTTP settings, basic_auth and so on"
	}
	return "is what Prometheus has in its HTTP settings"
}

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
