package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/BurntSushi/toml"
)

// A flyApp is as much of fly.toml as ours has. Fly's own types are in no module
// that could be had here, so this is a strict reading by our own list.
type flyApp struct {
	App           string
	PrimaryRegion string `toml:"primary_region"`
	KillSignal    string `toml:"kill_signal"`
	KillTimeout   int    `toml:"kill_timeout"` // in seconds
	Build         struct{ Image string }
	Env           map[string]string
	Deploy        struct {
		Strategy       string
		MaxUnavailable int `toml:"max_unavailable"`
	}
	HTTPService struct {
		InternalPort       int    `toml:"internal_port"`
		ForceHTTPS         bool   `toml:"force_https"`
		AutoStopMachines   string `toml:"auto_stop_machines"`
		AutoStartMachines  bool   `toml:"auto_start_machines"`
		MinMachinesRunning int    `toml:"min_machines_running"`
		Concurrency        struct {
			Type      string
			SoftLimit int `toml:"soft_limit"`
			HardLimit int `toml:"hard_limit"`
		}
		TLSOptions struct{ ALPN []string } `toml:"tls_options"`
		Checks     []struct {
			Method, Path, Interval, Timeout string
			GracePeriod                     string `toml:"grace_period"`
		}
	} `toml:"http_service"`
	Metrics struct {
		Port int
		Path string
	}
	VM []struct{ Size, Memory string }
}

func flyIO(dir string) (*deployment, error) {
	var f flyApp
	read, err := toml.DecodeFile(filepath.Join(dir, "fly.toml"), &f)
	if err != nil {
		return nil, err
	}
	s := f.HTTPService
	switch unknown := read.Undecoded(); {
	case len(unknown) > 0:
		return nil, fmt.Errorf("fly.toml: no such field: %v", unknown)
	case f.KillSignal != "SIGTERM" && f.KillSignal != "SIGINT":
		return nil, fmt.Errorf("%s does not drain", f.KillSignal)
	case f.KillTimeout > 300:
		return nil, fmt.Errorf("Fly waits 300 s at most")
	case s.AutoStopMachines != "off" || s.MinMachinesRunning < 1:
		return nil, fmt.Errorf("machines would be stopped, and links cut")
	case s.Concurrency.Type != "connections" || s.Concurrency.HardLimit < 1000:
		return nil, fmt.Errorf("too few links for each machine")
	case len(s.Checks) != 1 || s.Checks[0].Path != "/-/ready":
		return nil, fmt.Errorf("the health check is not /-/ready")
	}
	f.Env["FARSCRAPE_KEY"], f.Env["FARSCRAPE_REDIS_URL"] = "", "" // fly secrets, as README.md says
	return &deployment{env: variables(f.Env), grace: time.Duration(f.KillTimeout) * time.Second}, nil
}
