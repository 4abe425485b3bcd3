package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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

// sidecar runs the agent that is in the pods of an app, from before its secret is
// there to its end.
func (t *trial) sidecar(file string) error {
	_, w, c, err := ourContainer(file, "farscrape-agent")
	if err != nil {
		return err
	}
	spec := w.Template.Spec
	p := place{
		namespace: w.Metadata.Namespace, pod: "web-5d9c7f6b8d-x2x4q", dir: filepath.Join(t.dir, "sidecar"),
		annotations: maps.Clone(w.Template.Metadata.Annotations), secrets: map[string]map[string]string{},
	}
	servers, err := p.serve()
	if err != nil {
		return err
	}
	for _, one := range servers {
		defer one.Close()
	}
	env, err := p.environ(c)
	if err != nil {
		return err
	}
	env["FARSCRAPE_RELAY_URL"] = t.url
	name := env["FARSCRAPE_NAME"]

	if err := p.mount(spec, c); err != nil { // without the secret
		return err
	}
	agent, err := t.start("side-car", t.agent, env)
	if err != nil {
		return err
	}
	select {
	case <-agent.done:
		return fmt.Errorf("ends if its secret is missing, so that the app would not start: %v", agent.err)
	case <-time.After(2 * time.Second):
	}
	if got, err := t.targets(name); err != nil || len(got) > 0 {
		return fmt.Errorf("is listed without a token: %v, %v", got, err)
	}

	token, err := t.token("-agent", "*."+p.namespace)
	if err != nil {
		return err
	}
	p.secrets["farscrape-sidecar"] = map[string]string{"token": token + "\n"}
	if err := p.mount(spec, c); err != nil {
		return err
	}
	var got map[string]listed
	linked, err := agent.until("linked, once its secret is there", redial, func() (ok bool, err error) {
		got, err = t.targets(name)
		return len(got) > 0, err
	})
	if err != nil {
		return err
	}
	for _, one := range spec.Containers {
		if err := t.scraped(p, name, one.Name, got); err != nil {
			return fmt.Errorf("container %s: %w", one.Name, err)
		}
	}

	begun := time.Now()
	if err := agent.stop(); err != nil {
		return err
	}
	if got, err := t.targets(name); err != nil || len(got) > 0 {
		return fmt.Errorf("has ended, and is listed still: %v, %v", got, err)
	}
	fmt.Printf("side-car: ran without its secret, was linked %.1f s after that came, every container of the pod was listed and scraped, and nothing was listed %.0f ms after SIGTERM\n",
		linked.Seconds(), float64(time.Since(begun).Microseconds())/1000)

	// A pod that declares nothing.
	p.annotations = nil
	if err := p.mount(spec, c); err != nil {
		return err
	}
	agent, err = t.start("side-car without targets", t.agent, env)
	if err != nil {
		return err
	}
	if _, err := agent.until("linked without a target", soon, func() (bool, error) {
		body, err := t.get("/sd?agent=" + name)
		return strings.Contains(string(body), `"farscrape"`), err
	}); err != nil {
		return err
	}
	return agent.stop()
}

// targetsAnnotation is where a pod lists its targets.
const targetsAnnotation = "farscrape/targets"

// serve makes a server of each target that the pod declares, and declares that,
// for the ports of the manifest may be taken here.
func (p place) serve() (servers []*httptest.Server, err error) {
	var declared struct {
		Targets []struct {
			URL    string
			Labels map[string]string
		}
	}
	if err := yaml.Unmarshal([]byte(p.annotations[targetsAnnotation]), &declared); err != nil {
		return nil, err
	}
	for _, d := range declared.Targets {
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, answer(d.Labels["container"]))
		}))
		servers = append(servers, app)
		here := strings.Replace(app.URL, "127.0.0.1", "localhost", 1) + "/metrics"
		p.annotations[targetsAnnotation] = strings.Replace(p.annotations[targetsAnnotation], d.URL, here, 1)
	}
	return servers, nil
}

// scraped checks that a container of the pod is one target, with the labels that
// say which, and that a scrape of it reaches it.
func (t *trial) scraped(p place, agent, container string, got map[string]listed) error {
	own := slices.DeleteFunc(slices.Collect(maps.Values(got)), func(l listed) bool { return l.Labels["container"] != container })
	if len(own) != 1 {
		return fmt.Errorf("it has %d targets, of %v", len(own), got)
	}
	l := own[0]
	if l.Labels["pod"] != p.pod || l.Labels["namespace"] != p.namespace || l.Labels["agent"] != agent || l.Targets[0] != strings.TrimPrefix(t.url, "http://") {
		return fmt.Errorf("it is listed as %v", l)
	}
	body, err := t.get(l.Labels["__metrics_path__"])
	if err != nil {
		return err
	}
	if want := answer(container); string(body) != want {
		return fmt.Errorf("a scrape gives %q, not %q", body, want)
	}
	return nil
}

// answer is what a container's metrics are here.
func answer(container string) string {
	return fmt.Sprintf("container_answers{container=%q} 1\n", container)
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
