package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A place is what a container has around it: where its pod is, and what its
// volumes hold.
type place struct {
	namespace, pod string
	annotations    map[string]string
	secrets        map[string]map[string]string
	configMaps     map[string]map[string]string
	dir            string // stands for the container's root
}

// field is what the downward API says.
func (p place) field(path string) (string, error) {
	switch path {
	case "metadata.name":
		return p.pod, nil
	case "metadata.namespace":
		return p.namespace, nil
	}
	if m := regexp.MustCompile(`^metadata\.annotations\['(.+)'\]$`).FindStringSubmatch(path); m != nil {
		return p.annotations[m[1]], nil
	}
	return "", fmt.Errorf("this check does not know the field %s", path)
}

// environ is the container's environment, as the kubelet makes it; the paths of
// its volumes are below p.dir.
func (p place) environ(c container) (map[string]string, error) {
	env := map[string]string{}
	for _, v := range c.Env {
		value := regexp.MustCompile(`\$\(([A-Z_]+)\)`).ReplaceAllStringFunc(v.Value, func(s string) string {
			if known, ok := env[s[2:len(s)-1]]; ok {
				return known
			}
			return s
		})
		if path := v.ValueFrom.Field.FieldPath; path != "" {
			var err error
			if value, err = p.field(path); err != nil {
				return nil, err
			}
		}
		if v.ValueFrom.Resource.Resource == "requests.memory" {
			mi, err := strconv.Atoi(strings.TrimSuffix(c.Resources.Requests["memory"], "Mi"))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", v.Name, err)
			}
			value = strconv.Itoa(mi << 20)
		}
		if strings.HasSuffix(v.Name, "_FILE") {
			value = filepath.Join(p.dir, value)
		}
		env[v.Name] = value
	}
	return env, nil
}

// mount writes the container's volumes, as the kubelet does: of a projected
// volume's sources a later one wins, and an optional one may be missing.
func (p place) mount(pod pod, c container) error {
	for _, m := range c.Mounts {
		files := map[string]string{}
		for _, v := range pod.Volumes {
			if v.Name != m.Name {
				continue
			}
			maps.Copy(files, p.secrets[v.Secret.SecretName])
			maps.Copy(files, p.configMaps[v.ConfigMap.Name])
			for _, s := range v.Projected.Sources {
				for _, item := range s.DownwardAPI.Items {
					value, err := p.field(item.Field.FieldPath)
					if err != nil {
						return err
					}
					files[item.Path] = value
				}
				maps.Copy(files, p.secrets[s.Secret.Name])
			}
		}
		for name, content := range files {
			if err := write(filepath.Join(p.dir, m.MountPath, name), content); err != nil {
				return err
			}
		}
	}
	return nil
}

// write puts a file there, whole or not at all.
func write(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(name+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}
