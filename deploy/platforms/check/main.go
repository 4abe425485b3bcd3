// Command check reads the manifests of the platforms strictly, by the types of
// each platform's own API where there is a Go module of them: a field that is not
// there is an error. And it holds them to the relay and to each platform's limits:
// every variable is one of the relay's, a drain fits the grace period, links are
// moved before they are cut, and no secret stands in a file. It is a module of
// its own, so that the project does not depend on the platforms'.
//
//	check FOLDER HELP RUN_API
//
// HELP is what farscrape-relay -help prints, and RUN_API Google's description of
// Cloud Run's API, run-api.json.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// A deployment is what the manifests of one platform say about the relay.
type deployment struct {
	platform string
	env      map[string]string // names and values; a reference to a secret is empty
	grace    time.Duration     // from SIGTERM to SIGKILL
	cut      time.Duration     // the age at which the platform ends a link; 0: never
	idle     time.Duration     // the silence after which it ends a scrape; 0: none
}

func main() {
	folder, help, runAPI := os.Args[1], os.Args[2], os.Args[3]
	failed := false
	for _, platform := range []struct {
		name string
		read func(dir string) (*deployment, error)
	}{
		{"cloud-run", func(dir string) (*deployment, error) { return cloudRun(dir, runAPI) }},
		{"azure-container-apps", azure},
		{"ecs", ecsFargate},
		{"fly", flyIO},
	} {
		dir := filepath.Join(folder, platform.name)
		d, err := platform.read(dir)
		if err == nil {
			d.platform = platform.name
			err = d.check(dir, help)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "check: %s: %v\n", platform.name, err)
			failed = true
			continue
		}
		fmt.Printf("check: %s: as the platform's types have it; drain %v of %v, links moved at %v, cut at %s\n",
			platform.name, d.duration("FARSCRAPE_DRAIN_TIMEOUT", help), d.grace, d.duration("FARSCRAPE_LINK_MAX_AGE", help), orNever(d.cut))
	}
	if failed {
		os.Exit(1)
	}
}

func orNever(d time.Duration) string {
	if d == 0 {
		return "no age"
	}
	return d.String()
}

// exit is how long a relay may take from the end of its drain to its own.
const exit = time.Second

func (d *deployment) check(dir, helpFile string) error {
	help, err := os.ReadFile(helpFile)
	if err != nil {
		return err
	}
	for name, value := range d.env {
		if !regexp.MustCompile(`(?m)^  ` + name + `\s`).Match(help) {
			return fmt.Errorf("the relay does not know %s", name)
		}
		if (name == "FARSCRAPE_KEY" || name == "FARSCRAPE_REDIS_URL") && value != "" {
			return fmt.Errorf("%s stands in the manifest: it must be a reference", name)
		}
	}
	for _, need := range []string{"FARSCRAPE_PUBLIC_URL", "FARSCRAPE_KEY", "FARSCRAPE_REDIS_URL"} {
		_, plain := d.env[need]
		_, file := d.env[need+"_FILE"]
		if !plain && !file {
			return fmt.Errorf("without %s", need)
		}
	}
	drain, age := d.duration("FARSCRAPE_DRAIN_TIMEOUT", helpFile), d.duration("FARSCRAPE_LINK_MAX_AGE", helpFile)
	longest := d.duration("FARSCRAPE_SCRAPE_MAX_TIMEOUT", helpFile)
	switch {
	case drain+exit > d.grace:
		return fmt.Errorf("a drain of %v does not fit %v", drain, d.grace)
	case d.cut != 0 && age >= d.cut:
		return fmt.Errorf("links are moved at %v, and cut at %v", age, d.cut)
	case d.cut != 0 && longest >= d.cut:
		return fmt.Errorf("a scrape may take %v, and is cut at %v", longest, d.cut)
	case d.idle != 0 && longest >= d.idle:
		return fmt.Errorf("a scrape may take %v, and is cut after %v of silence", longest, d.idle)
	}
	return noSecrets(dir)
}

// duration is a variable's value, or what the relay takes without it.
func (d *deployment) duration(name, helpFile string) time.Duration {
	value, ok := d.env[name]
	if !ok {
		help, _ := os.ReadFile(helpFile)
		if m := regexp.MustCompile(`(?m)^  ` + name + `\s.*default (\S+)$`).FindSubmatch(help); m != nil {
			value = string(m[1])
		}
	}
	v, err := time.ParseDuration(value)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", name, err))
	}
	return v
}

// noSecrets looks for what a key, a token or a password looks like.
func noSecrets(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	secret := regexp.MustCompile(`[0-9a-fA-F]{32,}|eyJ[A-Za-z0-9_-]{10,}|rediss?://[^\s/@]*:[a-z0-9][^\s/@]*@`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if m := secret.Find(text); m != nil {
			return fmt.Errorf("%s: %.12s… looks like a secret", filepath.Base(file), m)
		}
	}
	return nil
}

// variables keeps those of a manifest's that are ours.
func variables(pairs map[string]string) map[string]string {
	ours := map[string]string{}
	for name, value := range pairs {
		if strings.HasPrefix(name, "FARSCRAPE_") {
			ours[name] = value
		}
	}
	return ours
}
