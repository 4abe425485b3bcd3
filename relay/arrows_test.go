package relay_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The arrows of ARCHITECTURE.md: which of our packages a package may import.
// They run one way, so that each part can be read without the others.
var arrows = map[string][]string{
	"relay/wire":                {},
	"relay/token":               {"relay/wire"},
	"relay/settings":            {},
	"relay/certname":            {"relay/wire"},
	"relay/certificate":         {"relay/certname", "relay/token", "relay/wire"},
	"relay/webconfig":           {"relay/loglimit", "relay/settings"},
	"relay/proxied":             {"relay/loglimit"},
	"relay/certtest":            {},
	"relay/flight":              {},
	"relay/share":               {"relay/wire"},
	"relay/loglimit":            {"relay/share"},
	"relay/recorder":            {"relay/share", "relay/wire"},
	"relay/tarpit":              {"relay/loglimit", "relay/share"},
	"relay/link":                {"relay/wire", "relay/certificate", "relay/token", "relay/share", "relay/loglimit"},
	"relay/join":                {"relay/wire", "relay/token", "relay/share", "relay/loglimit"},
	"relay/attempt":             {"relay/wire", "relay/share"},
	"relay/route":               {"relay/link", "relay/wire", "relay/share", "relay/flight"},
	"relay":                     {"relay/attempt", "relay/route", "relay/link", "relay/join", "relay/wire", "relay/certificate", "relay/token", "relay/loglimit", "relay/recorder", "relay/tarpit"},
	"relay/cmd/farscrape-relay": {"relay", "relay/link", "relay/wire", "relay/certificate", "relay/certname", "relay/token", "relay/settings", "relay/proxied", "relay/webconfig", "edge", "store"},
	"edge":                      {"relay/wire", "relay/certificate", "relay/token", "relay/flight", "relay/share"},
	"agent":                     {"relay/wire", "relay/certname", "relay/settings"},
	"agent/cmd/farscrape-agent": {"agent", "relay/settings", "relay/webconfig"},
	"store":                     {"relay/wire"},
	"store/storetest":           {"relay/wire"},
	"deploy/kubernetes/check":   {},
	"scripts/e2e":               {},
	"scripts/pages":             {},
	"scripts/rig":               {"relay/wire", "store/storetest"},
	"scripts/faults":            {"scripts/rig", "agent", "relay/certtest", "relay/token", "relay/wire", "store/storetest"},
	"scripts/attacks":           {"scripts/rig", "relay/certtest", "relay/token", "relay/wire", "store/storetest"},
	"scripts/bench":             {"scripts/rig", "relay/certtest", "agent", "relay/settings", "store/storetest"},
}

// The drawing in doc.go shows what the table says of the packages below relay.
func TestTheDrawingIsTrue(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	drawn := make(map[string][]string)
	for _, line := range regexp.MustCompile(`(?m)^//\t(\w+) +→(.*)$`).FindAllStringSubmatch(string(doc), -1) {
		of := "relay/" + line[1]
		if line[1] == "relay" {
			of = "relay"
		}
		drawn[of] = []string{}
		for to := range strings.SplitSeq(line[2], ",") {
			if to = strings.TrimSpace(to); to != "" {
				drawn[of] = append(drawn[of], "relay/"+to)
			}
		}
	}
	for of, may := range arrows {
		below := of == "relay" || strings.HasPrefix(of, "relay/") && !strings.Contains(of, "/cmd/")
		if got := drawn[of]; below && (got == nil || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(may)))) {
			t.Errorf("of %s the drawing has %v, the table %v", of, got, may)
		}
	}
}

// What else a package may import, where that is the point of it.
var libraries = map[string][]string{
	"relay/wire":  {},
	"relay/token": {"github.com/golang-jwt/jwt/v5"},
	"store":       {"github.com/redis/go-redis/v9", "github.com/prometheus/client_golang/prometheus"},
	"edge":        {"github.com/go-chi/chi/v5", "github.com/prometheus/client_golang/prometheus"},
}

func TestArrowsRunOneWay(t *testing.T) {
	const module = "github.com/farscrape/farscrape/"
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		may, known := arrows[name]
		if !known {
			t.Errorf("package %s has no place in the table", name)
		}
		for _, i := range p.Imports {
			ours, internal := strings.CutPrefix(i, module)
			if internal && !slices.Contains(may, ours) {
				t.Errorf("%s imports %s", name, ours)
			}
			with, restricted := libraries[name]
			if restricted && !internal && strings.Contains(strings.Split(i, "/")[0], ".") && !slices.ContainsFunc(with, func(l string) bool { return i == l || strings.HasPrefix(i, l+"/") }) {
				t.Errorf("%s imports %s", name, i)
			}
		}
	}
}
