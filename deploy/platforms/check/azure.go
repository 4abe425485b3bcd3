package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	app "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/appcontainers/armappcontainers/v3"
	"sigs.k8s.io/yaml"
)

// azure reads containerapp.yaml as a Microsoft.App/containerApps. The SDK passes
// over fields that it does not know, so what it makes of the file is written out
// again, and must be the whole of it.
func azure(dir string) (*deployment, error) {
	text, err := os.ReadFile(filepath.Join(dir, "containerapp.yaml"))
	if err != nil {
		return nil, err
	}
	read, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	var a app.ContainerApp
	if err := json.Unmarshal(read, &a); err != nil {
		return nil, err
	}
	written, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	var before, after any
	if err := json.Unmarshal(read, &before); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(written, &after); err != nil {
		return nil, err
	}
	if err := kept(before, after, "containerapp.yaml"); err != nil {
		return nil, err
	}

	t, ingress := a.Properties.Template, a.Properties.Configuration.Ingress
	switch {
	case *t.Scale.MinReplicas < 1:
		return nil, fmt.Errorf("it scales to nothing, which cuts every link")
	case *ingress.StickySessions.Affinity != app.AffinityNone:
		return nil, fmt.Errorf("sticky sessions keep an agent from a second replica")
	case *ingress.Transport == app.IngressTransportMethodHTTP2:
		return nil, fmt.Errorf("WebSockets need HTTP/1.1")
	}
	env := map[string]string{}
	for _, e := range t.Containers[0].Env {
		if e.Value != nil {
			env[*e.Name] = *e.Value
		} else {
			env[*e.Name] = ""
		}
	}
	// 240 s are the ingress's; only the premium one has a setting.
	return &deployment{env: variables(env), grace: time.Duration(*t.TerminationGracePeriodSeconds) * time.Second, cut: 240 * time.Second}, nil
}

// kept says what of before is not in after.
func kept(before, after any, at string) error {
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		for name, value := range b {
			if _, ok := a[name]; !ok {
				return fmt.Errorf("%s: no such field: %s", at, name)
			}
			if err := kept(value, a[name], at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		a, _ := after.([]any)
		if len(a) != len(b) {
			return fmt.Errorf("%s: %d of %d are left", at, len(a), len(b))
		}
		for i := range b {
			if err := kept(b[i], a[i], fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	default:
		if before != after {
			return fmt.Errorf("%s: %v became %v", at, before, after)
		}
	}
	return nil
}
