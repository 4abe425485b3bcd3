package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"
)

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
