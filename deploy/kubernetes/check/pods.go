package main

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// workload checks that its pods are whole: what they mount is there, and those that
// are ours ask for no more than they need and stop in the time that they have.
func (c *checker) workload(w workload) {
	p := w.Template.Spec
	c.must(w.Selector.picks(w.Template.Metadata.Labels), w.object, "its selector does not pick its own pods")
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
