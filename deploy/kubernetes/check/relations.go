package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v2"
)

// relations checks that what the objects of each file say of one another, of the
// commands, of the rules and of the README is so.
func (s settings) relations(files []string) error {
	c := checker{known: map[string][]string{}}
	for image, command := range map[string]string{"farscrape-relay": s.relay, "farscrape-agent": s.agent} {
		help, err := exec.Command(command, "-help").Output()
		if err != nil {
			return fmt.Errorf("%s -help: %w", command, err)
		}
		c.known[image] = regexp.MustCompile(`FARSCRAPE_[A-Z_]+`).FindAllString(string(help), -1)
	}
	readme, err := os.ReadFile(s.readme)
	if err != nil {
		return err
	}
	c.readme = strings.ReplaceAll(string(readme), "\\\n", " ")
	rules, err := os.ReadFile(s.rules)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(rules, &c.rules); err != nil {
		return err
	}
	for _, file := range files {
		r, err := readRendering(file)
		if err != nil {
			return err
		}
		if len(r.objects) == 0 {
			return fmt.Errorf("%s holds nothing", file)
		}
		c.rendering = r
		for _, w := range r.workloads {
			c.workload(w)
		}
		for _, o := range r.objects {
			c.object(o)
		}
	}
	return errors.Join(c.faults...)
}

type checker struct {
	*rendering
	known  map[string][]string // the variables of each of our images
	readme string
	rules  any
	faults []error
}

// placed reports whether the objects say which namespace they are for; a base may
// leave that to whoever uses it.
func (c *checker) placed() bool {
	return slices.ContainsFunc(c.objects, func(o object) bool { return o.Metadata.Namespace != "" })
}

// must notes a fault of o unless ok.
func (c *checker) must(ok bool, o object, format string, args ...any) {
	if !ok {
		c.faults = append(c.faults, fmt.Errorf("%s: %s: %s", path.Base(c.rendering.file), o, fmt.Sprintf(format, args...)))
	}
}

// object checks those that point at others.
func (c *checker) object(o object) {
	var spec struct {
		Selector    any
		PodSelector selector                    `yaml:"podSelector"`
		ScaleTarget struct{ Kind, Name string } `yaml:"scaleTargetRef"`
		Endpoints   []struct{ Port string }     `yaml:"podMetricsEndpoints"`
		Ports       []struct {
			TargetPort string `yaml:"targetPort"`
		}
		Host    string
		Rules   []rule
		Ingress []struct{ Ports []struct{ Port string } }
		Static  []struct{ Targets []string } `yaml:"staticConfigs"`
		HTTPSD  []struct{ URL string }       `yaml:"httpSDConfigs"`
		Auth    struct{ Credentials key }    `yaml:"authorization"`
	}
	c.must(o.Kind == "Namespace" || o.Metadata.Namespace != "" || !c.placed(), o, "has no namespace, and others have")
	if o.Kind == "PrometheusRule" {
		var rules any
		c.must(o.spec(&rules) == nil && reflect.DeepEqual(rules, c.rules), o, "is not deploy/prometheus/rules.yaml: check.sh -write makes it so")
		return
	}
	if err := o.spec(&spec); err != nil {
		c.must(false, o, "%v", err)
		return
	}
	switch o.Kind {
	case "Service", "PodDisruptionBudget", "PodMonitor":
		var s selector
		if o.Kind == "Service" {
			o.spec(&struct{ Selector *map[string]string }{&s.MatchLabels})
		} else {
			o.spec(&struct{ Selector *selector }{&s})
		}
		c.must(len(s.MatchLabels) > 0 && len(c.picked(s)) == 1, o, "its selector must pick the pods of one workload, and picks those of %d", len(c.picked(s)))
		for _, w := range c.picked(s) {
			for _, p := range spec.Ports {
				c.must(w.Template.Spec.port(p.TargetPort), o, "%s has no port called %s", w, p.TargetPort)
			}
			for _, p := range spec.Endpoints {
				c.must(w.Template.Spec.port(p.Port), o, "%s has no port called %s", w, p.Port)
			}
		}
	case "NetworkPolicy":
		picked := c.picked(spec.PodSelector)
		c.must(len(picked) == 1, o, "must be for the pods of one workload, and is for those of %d", len(picked))
		for _, w := range picked {
			for _, in := range spec.Ingress {
				for _, p := range in.Ports {
					c.must(w.Template.Spec.port(p.Port), o, "%s has no port called %s", w, p.Port)
				}
			}
		}
	case "HorizontalPodAutoscaler":
		target := c.find(spec.ScaleTarget.Kind, spec.ScaleTarget.Name)
		c.must(target != nil, o, "scales %s, which is not there", spec.ScaleTarget.Name)
		if target != nil {
			c.must(!slices.ContainsFunc(target.Spec, func(i yaml.MapItem) bool { return i.Key == "replicas" }), o, "%s has a number of replicas of its own", target)
		}
	case "HTTPRoute", "Ingress":
		n := 0
		for _, r := range spec.Rules {
			for _, b := range r.backends() {
				n++
				c.must(c.serves(b.name, b.port), o, "there is no Service %s with a port %s", b.name, b.port)
			}
		}
		c.must(n > 0, o, "has no backend")
	case "DestinationRule":
		c.must(c.find("Service", spec.Host) != nil, o, "there is no Service %s", spec.Host)
	case "ScrapeConfig":
		c.secret(o, spec.Auth.Credentials)
		for _, t := range spec.Static {
			for _, address := range t.Targets {
				c.clusterAddress(o, address)
			}
		}
		for _, t := range spec.HTTPSD {
			address, _, _ := strings.Cut(strings.TrimPrefix(t.URL, "http://"), "/")
			c.clusterAddress(o, address)
		}
	}
}

// A rule is an HTTPRoute's or an Ingress's.
type rule struct {
	BackendRefs []struct{ Name, Port string } `yaml:"backendRefs"`
	HTTP        struct {
		Paths []struct {
			Backend struct {
				Service struct {
					Name string
					Port struct{ Name, Number string }
				}
			}
		}
	}
}

type backend struct{ name, port string }

func (r rule) backends() (all []backend) {
	for _, b := range r.BackendRefs {
		all = append(all, backend{b.Name, b.Port})
	}
	for _, p := range r.HTTP.Paths {
		s := p.Backend.Service
		all = append(all, backend{s.Name, s.Port.Name + s.Port.Number})
	}
	return all
}

// serves reports whether there is a Service with that port, by name or number.
func (c *checker) serves(name, port string) bool {
	service := c.find("Service", name)
	if service == nil {
		return false
	}
	var spec struct{ Ports []struct{ Name, Port string } }
	if service.spec(&spec) != nil {
		return false
	}
	return slices.ContainsFunc(spec.Ports, func(p struct{ Name, Port string }) bool { return p.Name == port || p.Port == port })
}

// clusterAddress checks SERVICE.NAMESPACE.svc:PORT.
func (c *checker) clusterAddress(o object, address string) {
	parts := regexp.MustCompile(`^([a-z0-9-]+)\.([a-z0-9-]+)\.svc:([0-9]+)$`).FindStringSubmatch(address)
	c.must(parts != nil && parts[2] == o.Metadata.Namespace && c.serves(parts[1], parts[3]), o, "%s is no Service of its namespace, %s", address, o.Metadata.Namespace)
}

// secret checks that the README says how to make it.
func (c *checker) secret(o object, k key) {
	made := regexp.MustCompile(`create secret generic ` + regexp.QuoteMeta(k.Name) + ` [^\n]*--from-(file|literal)=` + regexp.QuoteMeta(k.Key) + `=`)
	c.must(made.MatchString(c.readme), o, "the README does not say how to make the secret %s with the key %s", k.Name, k.Key)
}

func (c *checker) workload(w workload) {
	p := w.Template.Spec
	c.must(len(w.Selector.MatchLabels) > 0 && w.Selector.picks(w.Template.Metadata.Labels), w.object, "its selector does not pick its own pods")
	for _, v := range p.Volumes {
		name := v.ConfigMap.Name
		c.must(name == "" || c.find("ConfigMap", name) != nil, w.object, "there is no ConfigMap %s", name)
	}
	for _, one := range p.InitContainers {
		if one.ours() {
			c.sidecar(w, one)
		}
	}
	for _, one := range p.all() {
		if !one.ours() && !strings.HasPrefix(w.Metadata.Name, "farscrape-") {
			continue // the app's
		}
		c.container(w, one)
	}
	for _, one := range p.Containers {
		if one.ours() {
			c.must(p.Automount != nil && !*p.Automount, w.object, "its pods get a token of the API server's, which nothing there needs")
			c.grace(w, one)
		}
	}
}

// container checks one that is ours to set up.
func (c *checker) container(w workload, one container) {
	say := func(ok bool, format string, args ...any) {
		c.must(ok, w.object, "container "+one.Name+": "+format, args...)
	}
	p, in := w.Template.Spec, one.SecurityContext
	say(in.RunAsNonRoot || p.SecurityContext.RunAsNonRoot, "may run as root")
	say(in.ReadOnly, "may write to its image")
	say(in.Escalation != nil && !*in.Escalation, "may gain rights")
	say(slices.Equal(in.Capabilities.Drop, []string{"ALL"}), "keeps capabilities")
	say(in.SeccompProfile.Type+p.SecurityContext.SeccompProfile.Type == "RuntimeDefault", "may make any system call")
	say(one.Resources.Requests["cpu"] != "" && one.Resources.Requests["memory"] != "" && one.Resources.Limits["memory"] != "", "has no requests, or no limit of its memory")
	for _, probe := range []*probe{one.Readiness, one.Liveness, one.Startup} {
		if probe != nil {
			port := probe.HTTPGet.Port + probe.TCPSocket.Port
			say(p.port(port), "probes the port %s, which has not been named", port)
		}
	}
	image, _, _ := strings.Cut(one.Image, ":")
	var earlier []string
	for _, v := range one.Env {
		say(!slices.Contains(earlier, v.Name), "%s is there twice", v.Name)
		if strings.HasPrefix(v.Name, "FARSCRAPE_") {
			say(slices.Contains(c.known[image], v.Name), "%s has no variable %s", image, v.Name)
		}
		for _, used := range regexp.MustCompile(`\$\(([A-Z_]+)\)`).FindAllStringSubmatch(v.Value, -1) {
			say(slices.Contains(earlier, used[1]), "%s uses %s, which is not set before it", v.Name, used[1])
		}
		earlier = append(earlier, v.Name)
		if v.ValueFrom.Secret.Name != "" {
			c.secret(w.object, v.ValueFrom.Secret)
		}
		if strings.HasSuffix(v.Name, "_FILE") {
			say(c.hasFile(w, one, v.Value), "%s: nothing makes the file %s", v.Name, v.Value)
		}
	}
}

// hasFile checks that a volume of the container has a file; that of a secret is for
// the README to tell.
func (c *checker) hasFile(w workload, one container, name string) bool {
	for _, m := range one.Mounts {
		below, ok := strings.CutPrefix(name, m.MountPath+"/")
		if !ok {
			continue
		}
		for _, v := range w.Template.Spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			if v.Secret.SecretName != "" {
				c.secret(w.object, key{v.Secret.SecretName, below})
				return true
			}
			if m := c.find("ConfigMap", v.ConfigMap.Name); m != nil {
				_, ok := m.Data[below]
				return ok
			}
			return c.projected(w, v, below)
		}
	}
	return false
}

// projected checks that a projected volume has a file whatever may be missing,
// and that the README tells of the secret that may take its place.
func (c *checker) projected(w workload, v volume, name string) (ok bool) {
	for _, s := range v.Projected.Sources {
		for _, item := range s.DownwardAPI.Items {
			ok = ok || item.Path == name
		}
		if s.Secret.Name != "" {
			c.must(s.Secret.Optional, w.object, "without the secret %s its pods do not start", s.Secret.Name)
			c.must(len(s.Secret.Items) == 0, w.object, "the secret %s has items, so that the API server refuses the file of the same name before it", s.Secret.Name)
			c.secret(w.object, key{s.Secret.Name, "token"})
		}
	}
	return ok
}

// sidecar checks that an agent in somebody else's pod cannot take the app down.
func (c *checker) sidecar(w workload, one container) {
	say := func(ok bool, format string, args ...any) {
		c.must(ok, w.object, "side-car "+one.Name+": "+format, args...)
	}
	say(one.RestartPolicy == "Always", "is an init container that must end, not a side-car")
	say(one.Startup == nil && one.Readiness == nil && one.Liveness == nil, "has a probe")
	say(len(one.Ports) == 0, "has a port")
	say(one.Resources.Limits["cpu"] != "", "has no limit of its processor time")
	env := map[string]string{}
	for _, v := range one.Env {
		env[v.Name] = v.Value
		say(v.ValueFrom.Secret.Name == "", "%s is a secret by variable: without it the pod does not start", v.Name)
	}
	listen, set := env["FARSCRAPE_LISTEN"]
	say(set && listen == "", "opens the port that its image names: set FARSCRAPE_LISTEN to nothing")
	say(env["FARSCRAPE_EPHEMERAL"] == "true", "is not ephemeral")
}

// grace checks that a stop fits the time that the pod has for it.
func (c *checker) grace(w workload, one container) {
	need := time.Duration(one.Lifecycle.PreStop.Sleep.Seconds) * time.Second
	for _, v := range one.Env {
		if v.Name == "FARSCRAPE_DRAIN_TIMEOUT" {
			drain, err := time.ParseDuration(v.Value)
			c.must(err == nil, w.object, "%s: %v", v.Name, err)
			need += drain + time.Second // for answers that are still being written
		}
	}
	has := time.Duration(w.Template.Spec.Grace) * time.Second
	if has == 0 {
		has = 30 * time.Second // Kubernetes's default
	}
	c.must(need <= has, w.object, "a stop takes up to %s, and the pod has %s for it", need, has)
	if strings.HasPrefix(one.Image, "farscrape-relay") {
		c.must(need > time.Second, w.object, "FARSCRAPE_DRAIN_TIMEOUT must be set, so that it can be compared")
	}
}
