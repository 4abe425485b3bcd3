package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v2"
)

// An object is one of a rendered file: as much of it as is checked here. That
// there is nothing else in it which no schema knows is kubectl-validate's word.
type object struct {
	Kind     string
	Metadata metadata
	Spec     yaml.MapSlice
	Data     map[string]string
}

type metadata struct {
	Name, Namespace     string
	Labels, Annotations map[string]string
}

func (o object) String() string { return o.Kind + " " + o.Metadata.Name }

// spec reads the object's spec as what its kind has there.
func (o object) spec(into any) error {
	text, err := yaml.Marshal(o.Spec)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, into)
}

// A selector picks pods by their labels. An empty one is nobody to some kinds and
// everybody to others, and never what is meant here.
type selector struct {
	Labels      map[string]string `yaml:",inline"` // a Service's
	MatchLabels map[string]string `yaml:"matchLabels"`
}

// picks reports whether labels have all that the selector asks for.
func (s selector) picks(labels map[string]string) bool {
	for _, asked := range []map[string]string{s.Labels, s.MatchLabels} {
		for k, v := range asked {
			if labels[k] != v {
				return false
			}
		}
	}
	return len(s.Labels)+len(s.MatchLabels) > 0
}

// A workload is an object that makes pods.
type workload struct {
	object
	Selector selector
	Template struct {
		Metadata metadata
		Spec     pod
	}
}

type pod struct {
	InitContainers  []container `yaml:"initContainers"`
	Containers      []container
	Volumes         []volume
	SecurityContext confinement `yaml:"securityContext"`
	Automount       *bool       `yaml:"automountServiceAccountToken"`
	Grace           int         `yaml:"terminationGracePeriodSeconds"`
}

func (p pod) all() []container {
	return append(append([]container{}, p.InitContainers...), p.Containers...)
}

// port finds a named port of any container.
func (p pod) port(name string) bool {
	for _, c := range p.all() {
		for _, port := range c.Ports {
			if port.Name == name {
				return true
			}
		}
	}
	return false
}

type container struct {
	Name, Image   string
	RestartPolicy string `yaml:"restartPolicy"`
	Env           []variable
	Ports         []struct{ Name string }
	Readiness     *probe `yaml:"readinessProbe"`
	Liveness      *probe `yaml:"livenessProbe"`
	Startup       *probe `yaml:"startupProbe"`
	Lifecycle     struct {
		PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
	}
	Resources struct{ Requests, Limits map[string]string }
	Mounts    []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	SecurityContext confinement `yaml:"securityContext"`
}

// ours reports whether the container runs one of our images.
func (c container) ours() bool { return strings.HasPrefix(c.Image, "farscrape-") }

type variable struct {
	Name, Value string
	ValueFrom   struct {
		Field struct {
			FieldPath string `yaml:"fieldPath"`
		} `yaml:"fieldRef"`
		Resource struct{ Resource string } `yaml:"resourceFieldRef"`
		Secret   key                       `yaml:"secretKeyRef"`
	} `yaml:"valueFrom"`
}

// A key names a secret's content.
type key struct {
	Name, Key string
}

type probe struct {
	HTTPGet   struct{ Path, Port string } `yaml:"httpGet"`
	TCPSocket struct{ Port string }       `yaml:"tcpSocket"`
}

type volume struct {
	Name   string
	Secret struct {
		SecretName string `yaml:"secretName"`
	}
	ConfigMap struct{ Name string } `yaml:"configMap"`
	Projected struct{ Sources []source }
}

// A source is one of a projected volume.
type source struct {
	DownwardAPI struct {
		Items []struct {
			Path  string
			Field struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		}
	} `yaml:"downwardAPI"`
	Secret struct {
		Name     string
		Optional bool
		Items    []any
	}
	ConfigMap struct{ Name string } `yaml:"configMap"`
}

// confinement is a pod's security context, or a container's.
type confinement struct {
	RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
	ReadOnly       bool                  `yaml:"readOnlyRootFilesystem"`
	Escalation     *bool                 `yaml:"allowPrivilegeEscalation"`
	SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	Capabilities   struct{ Drop []string }
}

// A rendering is a file of objects.
type rendering struct {
	file      string
	objects   []object
	workloads []workload
}

func readRendering(file string) (*rendering, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &rendering{file: file}
	for d := yaml.NewDecoder(f); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		r.objects = append(r.objects, o)
		switch o.Kind {
		case "Deployment", "StatefulSet", "DaemonSet", "Job":
			w := workload{object: o}
			if err := o.spec(&w); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", file, o, err)
			}
			r.workloads = append(r.workloads, w)
		}
	}
}

// find is the object of that kind and name, or nil.
func (r *rendering) find(kind, name string) *object {
	for i, o := range r.objects {
		if o.Kind == kind && o.Metadata.Name == name {
			return &r.objects[i]
		}
	}
	return nil
}

// picked lists the workloads whose pods a selector picks.
func (r *rendering) picked(s selector) (all []workload) {
	for _, w := range r.workloads {
		if s.picks(w.Template.Metadata.Labels) {
			all = append(all, w)
		}
	}
	return all
}
