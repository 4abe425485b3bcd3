package main

import (
	"context"
	"strings"
	"testing"
)

func TestNoErrorTellsASecretOfAURL(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	stop() // of one that is taken for good, run ends all the same
	for name, values := range map[string][]string{
		"PUBLIC_URL": {
			"https://prometheus:s3cret@relay.example.com", "https://relay.example.com/?token=s3cret", "https://relay.example.com/#s3cret",
			"ftp://prometheus:s3cret@relay.example.com", "https://prometheus:s3cret%zz@relay.example.com", "https://:s3cret@", "s3cret",
		},
		"REDIS_URL": {"redis://:s3cret%zz@redis:6379", "http://:s3cret@redis:6379", "redis://:s3cret@redis/x?addr=b:1"},
	} {
		for _, value := range values {
			var out strings.Builder
			err := run(ctx, []string{
				"FARSCRAPE_" + name + "=" + value, "FARSCRAPE_LISTEN=127.0.0.1:0", "FARSCRAPE_KEY=0123456789abcdef0123456789abcdef",
			}, &out)
			if err == nil || !strings.Contains(err.Error(), "FARSCRAPE_"+name+": ") {
				t.Errorf("%s=%s: %v", name, value, err)
			} else if strings.Contains(err.Error()+out.String(), "s3cret") {
				t.Errorf("%s=%s: told in %v, or in %s", name, value, err, &out)
			}
		}
	}
}

func TestTheBusIsAskedForByName(t *testing.T) {
	for setting, values := range map[string]map[string]bool{
		"FARSCRAPE_BUS_SEAL":     {"": true, "auto": true, "always": true, "never": false},
		"FARSCRAPE_REDIS_PUBSUB": {"": true, "auto": true, "sharded": true, "plain": true, "both": false},
	} {
		for value, good := range values {
			var environ []string
			if value != "" {
				environ = append(environ, setting+"="+value)
			}
			if _, err := loadConfig(environ); (err == nil) != good || err != nil && !strings.Contains(err.Error(), setting+"="+value) {
				t.Errorf("%s=%s: %v", setting, value, err)
			}
		}
	}
}

func TestAnAgentsLimitsAreWithinTheProtocols(t *testing.T) {
	for setting, good := range map[string]bool{
		"AGENT_MAX_TARGETS=10000": true, "AGENT_MAX_TARGETS=10001": false, "AGENT_MAX_TARGETS=0": false,
		"AGENT_MAX_LABELS=64": true, "AGENT_MAX_LABELS=65": false, "AGENT_MAX_LABELS=-1": false,
		"AGENT_MAX_BYTES=4MiB": true, "AGENT_MAX_BYTES=5MiB": false, "AGENT_MAX_BYTES=0": false,
	} {
		name, _, _ := strings.Cut(setting, "=")
		if _, err := loadConfig([]string{"FARSCRAPE_" + setting}); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "FARSCRAPE_"+name) {
			t.Errorf("%s: %v", setting, err)
		}
	}
}
