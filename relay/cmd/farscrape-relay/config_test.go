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

// What is set of certificates and cannot be is told in one sentence that names the mend.
func TestWhatCertificatesNeed(t *testing.T) {
	const web, edgeWeb, list = "WEB_CONFIG_FILE=web.yaml", "EDGE_WEB_CONFIG_FILE=edge.yaml", "SCRAPER_DNS_NAMES=prometheus.example.com"
	const edge, key = "EDGE_LISTEN=127.0.0.1:0", "CLIENT_CRL_FILE=crl.pem"
	for settings, want := range map[string]string{
		"":                                     "",
		"AGENT_AUTH=certificate " + web:        "",
		"EDGE_AUTH=either " + web + " " + list: "",
		"EDGE_AUTH=both " + edge + " " + edgeWeb + " SCRAPER_SPIFFE=spiffe://*/tenant/{tenant}/scraper/{scraper}": "",
		"AGENT_AUTH=either EDGE_AUTH=none " + edge + " " + web + " " + key:                                        "",
		"AGENT_SPIFFE=spiffe://example.org/ns/{tenant}/sa/{agent}":                                                "",

		"AGENT_AUTH=none":                                   "FARSCRAPE_AGENT_AUTH=none: must be token, certificate, either or both",
		"EDGE_AUTH=certificates":                            "FARSCRAPE_EDGE_AUTH=certificates: must be token, certificate, either, both or none",
		"EDGE_AUTH=none":                                    "FARSCRAPE_EDGE_AUTH=none needs FARSCRAPE_EDGE_LISTEN: a private address that only Prometheus reaches",
		"AGENT_AUTH=certificate":                            "FARSCRAPE_AGENT_AUTH=certificate needs FARSCRAPE_WEB_CONFIG_FILE, with client_ca_file and client_auth_type VerifyClientCertIfGiven or RequireAndVerifyClientCert",
		"EDGE_AUTH=both " + list:                            "FARSCRAPE_EDGE_AUTH=both needs FARSCRAPE_WEB_CONFIG_FILE, with client_ca_file",
		"EDGE_AUTH=either " + edge + " " + web + " " + list: "FARSCRAPE_EDGE_AUTH=either needs FARSCRAPE_EDGE_WEB_CONFIG_FILE, with client_ca_file",
		"EDGE_AUTH=certificate " + web: "FARSCRAPE_EDGE_AUTH=certificate needs to know whose certificates are scrapers': set FARSCRAPE_SCRAPER_SPIFFE, such as spiffe://example.org/tenant/{tenant}/scraper/{scraper}, " +
			"or FARSCRAPE_SCRAPER_DNS_NAMES, such as prometheus.example.com",
		"EDGE_AUTH=either SCRAPER_DNS_NAMES=prom-[ " + web: `FARSCRAPE_SCRAPER_DNS_NAMES: "prom-[": must be like prometheus.example.com`,
		"EDGE_AUTH=either SCRAPER_DNS_NAMES=a,, " + web:    `FARSCRAPE_SCRAPER_DNS_NAMES: "": must be like`,
		"AGENT_SPIFFE=edge":                 "FARSCRAPE_AGENT_SPIFFE: must be like spiffe://example.org/tenant/{tenant}/agent/{agent}",
		"SCRAPER_SPIFFE=spiffe://a/{agent}": `FARSCRAPE_SCRAPER_SPIFFE: part 2, "{agent}", is neither a plain name, *, {tenant} nor {scraper}: must be like spiffe://example.org/tenant/{tenant}/scraper/{scraper}`,
		key:                                 "FARSCRAPE_CLIENT_CRL_FILE has no effect without FARSCRAPE_AGENT_AUTH or FARSCRAPE_EDGE_AUTH=certificate",
	} {
		var environ []string
		for s := range strings.FieldsSeq(settings) {
			environ = append(environ, "FARSCRAPE_"+s)
		}
		_, err := loadConfig(environ)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", settings, err)
		}
	}
}
