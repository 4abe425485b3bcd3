package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sigs.k8s.io/yaml"
)

// A schema is one of the API's types, as Google's description has it.
type schema struct {
	Type                 string
	Ref                  string `json:"$ref"`
	Format               string
	Properties           map[string]*schema
	Items                *schema
	AdditionalProperties *schema
}

// cloudRun reads service.yaml by the description of run.googleapis.com/v1.
func cloudRun(dir, runAPI string) (*deployment, error) {
	var api struct{ Schemas map[string]*schema }
	description, err := os.ReadFile(runAPI)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(description, &api); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "service.yaml"))
	if err != nil {
		return nil, err
	}
	var any map[string]any
	if err := yaml.UnmarshalStrict(text, &any); err != nil {
		return nil, err
	}
	if err := conform(api.Schemas, api.Schemas["Service"], any, "service.yaml"); err != nil {
		return nil, err
	}

	var s struct {
		Spec struct {
			Template struct {
				Metadata struct{ Annotations map[string]string }
				Spec     struct {
					ContainerConcurrency, TimeoutSeconds int
					Containers                           []struct {
						Env []struct{ Name, Value string }
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &s); err != nil {
		return nil, err
	}
	t := s.Spec.Template
	switch a := t.Metadata.Annotations; {
	case t.Spec.ContainerConcurrency != 1000, t.Spec.TimeoutSeconds != 3600:
		return nil, fmt.Errorf("not the most requests and the longest that there are")
	case a["run.googleapis.com/cpu-throttling"] != "false":
		return nil, fmt.Errorf("no processor between requests")
	case a["run.googleapis.com/sessionAffinity"] == "true":
		return nil, fmt.Errorf("session affinity keeps an agent from a second replica")
	}
	env := map[string]string{}
	for _, e := range t.Spec.Containers[0].Env {
		env[e.Name] = e.Value
	}
	// Ten seconds are Cloud Run's; there is no setting.
	return &deployment{env: variables(env), grace: 10 * time.Second, cut: time.Duration(t.Spec.TimeoutSeconds) * time.Second}, nil
}

// conform says where a value is not of the schema.
func conform(all map[string]*schema, s *schema, value any, at string) error {
	if s.Ref != "" {
		s = all[s.Ref]
	}
	kind := map[string]string{"map[string]interface {}": "object", "[]interface {}": "array", "string": "string", "bool": "boolean", "float64": "number"}[fmt.Sprintf("%T", value)]
	if kind != s.Type && !(kind == "number" && s.Type == "integer") && !(kind == "number" && s.Format == "int64") {
		return fmt.Errorf("%s: %v is no %s", at, value, s.Type)
	}
	switch v := value.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			of := s.Properties[name]
			if of == nil {
				of = s.AdditionalProperties
			}
			if of == nil {
				return fmt.Errorf("%s: no such field: %s", at, name)
			}
			if err := conform(all, of, v[name], at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := conform(all, s.Items, item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	}
	return nil
}
