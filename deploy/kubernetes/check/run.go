package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"
)

// How long things may take that take a moment.
const (
	soon = 5 * time.Second
	// A dial that was refused is tried again within half a minute.
	redial = 40 * time.Second
)

// try runs the relay of one rendering and the agents of two others, with their
// environments, and scrapes through them.
func (s settings) try(relayFile, sidecarFile, namespaceFile string) (err error) {
	dir, err := os.MkdirTemp("", "farscrape-kubernetes")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t := &trial{settings: s, dir: dir}
	defer func() {
		for _, p := range slices.Backward(t.processes) {
			p.kill()
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s:\n%s\n", p.name, p.log.Bytes())
			}
		}
	}()
	if err := t.startRelay(relayFile); err != nil {
		return fmt.Errorf("the relay: %w", err)
	}
	if err := t.sidecar(sidecarFile); err != nil {
		return fmt.Errorf("the side-car: %w", err)
	}
	if err := t.namespaceAgent(namespaceFile); err != nil {
		return fmt.Errorf("the agent for a namespace: %w", err)
	}
	return nil
}

type trial struct {
	settings
	dir       string
	relayEnv  []string
	url       string // of the relay
	scraper   string // token
	processes []*process
}

// ourContainer is the container of the file that runs an image, with its pod.
func ourContainer(file, image string) (*rendering, workload, container, error) {
	r, err := readRendering(file)
	if err != nil {
		return nil, workload{}, container{}, err
	}
	for _, w := range r.workloads {
		for _, c := range w.Template.Spec.all() {
			if strings.HasPrefix(c.Image, image) {
				return r, w, c, nil
			}
		}
	}
	return nil, workload{}, container{}, fmt.Errorf("%s has no container of %s", file, image)
}

// startRelay runs one replica. It differs from the manifest in its addresses,
// which are of this machine, and in having no Redis; there was no agent before,
// so discovery need not wait for any.
func (t *trial) startRelay(file string) error {
	_, w, c, err := ourContainer(file, "farscrape-relay")
	if err != nil {
		return err
	}
	p := place{
		namespace: w.Metadata.Namespace, pod: "farscrape-relay-0", dir: filepath.Join(t.dir, "relay"),
		secrets: map[string]map[string]string{"farscrape-key": {"key": rand.Text() + rand.Text()}, "farscrape-redis": {"url": ""}},
	}
	if err := p.mount(w.Template.Spec, c); err != nil {
		return err
	}
	env, err := p.environ(c)
	if err != nil {
		return err
	}
	listen, err := freeAddress()
	if err != nil {
		return err
	}
	t.url = "http://" + listen
	delete(env, "FARSCRAPE_REDIS_URL_FILE")
	env["FARSCRAPE_SD_GRACE"] = "0s"
	env["FARSCRAPE_LISTEN"], env["FARSCRAPE_OPS_LISTEN"], env["FARSCRAPE_PUBLIC_URL"] = listen, "127.0.0.1:0", t.url
	for k, v := range env {
		t.relayEnv = append(t.relayEnv, k+"="+v)
	}
	relay, err := t.start("relay", t.relay, env)
	if err != nil {
		return err
	}
	if err := relay.ready(t.url + c.Readiness.HTTPGet.Path); err != nil {
		return err
	}
	t.scraper, err = t.token("-scraper", "prometheus")
	return err
}

// token mints one, as an operator does.
func (t *trial) token(args ...string) (string, error) {
	cmd := exec.Command(t.relay, append([]string{"token"}, args...)...)
	cmd.Env = t.relayEnv
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// A listed is a target in service discovery.
type listed struct {
	Targets []string
	Labels  map[string]string
}

// get asks the relay as Prometheus does.
func (t *trial) get(path string) ([]byte, error) {
	r, err := http.NewRequest(http.MethodGet, t.url+path, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+t.scraper)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, resp.Status, body)
	}
	return body, err
}

// targets lists what discovery has of an agent, by the target's name; its own
// metrics are left out.
func (t *trial) targets(agent string) (map[string]listed, error) {
	body, err := t.get("/sd?agent=" + agent)
	if err != nil {
		return nil, err
	}
	var all []listed
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	named := map[string]listed{}
	for _, l := range all {
		if name := l.Labels["__meta_farscrape_target"]; name != "farscrape" {
			named[name] = l
		}
	}
	return named, nil
}

// namespaceAgent runs both agents of a namespace: they hold one name.
func (t *trial) namespaceAgent(file string) error {
	r, w, c, err := ourContainer(file, "farscrape-agent")
	if err != nil {
		return err
	}
	token, err := t.token("-agent", w.Metadata.Namespace)
	if err != nil {
		return err
	}
	p := place{
		namespace: w.Metadata.Namespace, pod: "farscrape-agent-0", dir: filepath.Join(t.dir, "namespace"),
		secrets: map[string]map[string]string{"farscrape-agent": {"token": token}}, configMaps: map[string]map[string]string{},
	}
	var declared struct{ Targets []struct{ Name string } }
	for _, o := range r.objects {
		if o.Kind != "ConfigMap" {
			continue
		}
		p.configMaps[o.Metadata.Name] = o.Data
		if err := yaml.Unmarshal([]byte(o.Data["targets.yaml"]), &declared); err != nil {
			return err
		}
	}
	if err := p.mount(w.Template.Spec, c); err != nil {
		return err
	}
	for i := range 2 {
		env, err := p.environ(c)
		if err != nil {
			return err
		}
		listen, err := freeAddress()
		if err != nil {
			return err
		}
		env["FARSCRAPE_RELAY_URL"], env["FARSCRAPE_LISTEN"] = t.url, listen
		agent, err := t.start(fmt.Sprintf("agent %d of the namespace", i+1), t.agent, env)
		if err != nil {
			return err
		}
		if err := agent.ready("http://" + listen + c.Readiness.HTTPGet.Path); err != nil {
			return err
		}
	}
	got, err := t.targets(p.namespace)
	if err != nil || len(got) == 0 || len(got) != len(declared.Targets) {
		return fmt.Errorf("declares %d targets, of which are listed: %v, %v", len(declared.Targets), got, err)
	}
	for name, l := range got {
		if l.Labels["namespace"] != p.namespace || l.Labels["agent"] != p.namespace {
			return fmt.Errorf("target %s is listed as %v", name, l.Labels)
		}
	}
	fmt.Printf("agent for a namespace: two under one name, %d targets listed\n", len(got))
	return nil
}
