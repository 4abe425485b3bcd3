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

// pointing is as much of a spec as says what else there must be.
type pointing struct {
	Selector    selector
	PodSelector selector `yaml:"podSelector"`
	Ports       []struct {
		TargetPort string `yaml:"targetPort"`
	}
	Endpoints   []struct{ Port string } `yaml:"podMetricsEndpoints"`
	Ingress     []struct{ Ports []struct{ Port string } }
	ScaleTarget struct{ Kind, Name string } `yaml:"scaleTargetRef"`
	Host        string
	Rules       []rule
	Static      []struct{ Targets []string } `yaml:"staticConfigs"`
	HTTPSD      []struct{ URL string }       `yaml:"httpSDConfigs"`
	Auth        struct{ Credentials key }    `yaml:"authorization"`
}

// ports lists those that pods must have, by name.
func (s pointing) ports() (all []string) {
	for _, p := range s.Ports {
		all = append(all, p.TargetPort)
	}
	for _, p := range s.Endpoints {
		all = append(all, p.Port)
	}
	for _, in := range s.Ingress {
		for _, p := range in.Ports {
			all = append(all, p.Port)
		}
	}
	return all
}

// object checks those that point at others.
func (c *checker) object(o object) {
	c.must(o.Kind == "Namespace" || o.Metadata.Namespace != "" || !c.placed(), o, "has no namespace, and others have")
	if o.Kind == "PrometheusRule" {
		var rules any
		c.must(o.spec(&rules) == nil && reflect.DeepEqual(rules, c.rules), o, "is not deploy/prometheus/rules.yaml: check.sh -write makes it so")
		return
	}
	var spec pointing
	if err := o.spec(&spec); err != nil {
		c.must(false, o, "%v", err)
		return
	}
	switch o.Kind {
	case "Service", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy":
		picked := append(c.picked(spec.Selector), c.picked(spec.PodSelector)...)
		c.must(len(picked) == 1, o, "its selector must pick the pods of one workload, and picks those of %d", len(picked))
		for _, w := range picked {
			for _, port := range spec.ports() {
				c.must(w.Template.Spec.port(port), o, "%s has no port called %s", w, port)
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
