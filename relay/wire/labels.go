package wire

import (
	"fmt"
	"regexp"
	"strings"
)

// mispartedLabels is the start of another label behind what does not part them:
// white space, or a semicolon, if no URL's query has it. Who wants such a value
// writes it into FARSCRAPE_TARGETS_FILE.
var mispartedLabels = regexp.MustCompile(`^[^?]*[;\s]\s*[a-zA-Z_][a-zA-Z0-9_]*=`)

// ParseLabels reads name=value,name=value. Spaces beside the commas do not count.
func ParseLabels(s string) (map[string]string, error) {
	all := make(map[string]string)
	for entry := range strings.SplitSeq(s, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		_, twice := all[name]
		switch {
		case !ok:
			return nil, fmt.Errorf("%q is not name=value", entry)
		case mispartedLabels.MatchString(value):
			return nil, fmt.Errorf("%q holds more than one label: put a comma between labels", entry)
		case twice:
			return nil, fmt.Errorf("label %s is there twice: remove one", name)
		}
		all[name] = value
	}
	if err := CheckLabels(all); err != nil {
		return nil, err
	}
	return all, nil
}
