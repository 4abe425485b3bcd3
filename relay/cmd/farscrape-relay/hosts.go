package main

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/farscrape/farscrape/edge"
	"github.com/farscrape/farscrape/relay/wire"
)

// ownHosts are the names by which this relay is reached, as far as it is told.
func (c *config) ownHosts(public *url.URL) wire.Hosts {
	hosts := wire.NewHosts(append(c.platformHosts, c.OwnHosts...)...)
	if public != nil {
		hosts = hosts.With(public.Host)
	}
	return hosts
}

// plainHost is what a host may look like, with or without a port.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9._-]+(:[0-9]+)?|[0-9A-Fa-f:.]+|\[[0-9A-Fa-f:.]+\](:[0-9]+)?)$`)

// checkOwnHosts refuses what can be no request's host, and so would be of no use.
// It shows of a URL its host alone: there may be a password.
func (c *config) checkOwnHosts() error {
	for _, host := range c.OwnHosts {
		if host = strings.TrimSpace(host); host == "" || plainHost.MatchString(host) {
			continue
		}
		if u, err := url.Parse(host); err == nil && u.Hostname() != "" {
			return fmt.Errorf("FARSCRAPE_OWN_HOSTS: must be a host, not a URL: write %s", u.Host)
		}
		return errors.New("FARSCRAPE_OWN_HOSTS: must be hosts, separated by commas, such as relay.example.com")
	}
	return nil
}

// platformHosts are the names that a platform gives its services and tells them
// by variables. Cloud Run, ECS and Kubernetes tell none.
func platformHosts(environ []string) []string {
	vars := env.ToMap(environ)
	var hosts []string
	for _, name := range []string{"CONTAINER_APP_HOSTNAME", "RENDER_EXTERNAL_HOSTNAME", "RAILWAY_PUBLIC_DOMAIN", "RAILWAY_PRIVATE_DOMAIN"} {
		if host := vars[name]; host != "" {
			hosts = append(hosts, host)
		}
	}
	if app := vars["FLY_APP_NAME"]; app != "" {
		hosts = append(hosts, app+".fly.dev", app+".internal", app+".flycast")
	}
	if app, suffix := vars["CONTAINER_APP_NAME"], vars["CONTAINER_APP_ENV_DNS_SUFFIX"]; app != "" && suffix != "" {
		hosts = append(hosts, app, app+"."+suffix, app+".internal."+suffix)
	}
	return hosts
}

// checkOrigin refuses to take declared hosts for targets' where the relay does
// not know its own: any agent could declare that.
func (c *config) checkOrigin() error {
	switch c.OriginForm {
	case "names":
		return nil
	case "addresses":
		if c.PublicURL == "" && len(c.OwnHosts) == 0 && len(c.platformHosts) == 0 {
			return errors.New("FARSCRAPE_ORIGIN_FORM=addresses needs FARSCRAPE_PUBLIC_URL or FARSCRAPE_OWN_HOSTS: an agent could declare the relay's own name, and have its pages")
		}
		return nil
	}
	return fmt.Errorf("FARSCRAPE_ORIGIN_FORM=%s: must be names or addresses", c.OriginForm)
}

func (c *config) originForm() edge.OriginForm {
	if c.OriginForm == "addresses" {
		return edge.OriginAddresses
	}
	return edge.OriginNames
}
