package agent

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"

	promconfig "github.com/prometheus/common/config"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// A target is a declared scrape endpoint, ready to be asked.
type target struct {
	wire.Target             // what the relay is told
	url         *url.URL    // of a subtree: its path without the *
	maxInflight int         // 0: only the relay's limits
	from        declaration // what it was made of
	http        promconfig.HTTPClientConfig
	transport   transport
}

// A targetSet is a list of targets at one time. It is not changed once made.
type targetSet struct {
	byName   map[string]*target
	declared []wire.Target // in the order of declaration, the agent's own last
}

// newTargetSet makes targets of declarations and puts labels on all of them, the
// agent's own too. Targets of old that have not changed are kept, and with them
// their connections.
func newTargetSet(declared []declaration, labels map[string]string, own *target, old *targetSet, dial dialFunc) (*targetSet, error) {
	set := &targetSet{byName: make(map[string]*target, len(declared)+1)}
	for _, d := range declared {
		if d.Name == wire.OwnTarget {
			return nil, fmt.Errorf("target %s: the name is the agent's own metrics': choose another", d.Name)
		}
		t, err := newTarget(d, labels)
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", d.Name, err)
		}
		set.add(t)
	}
	set.add(own)
	if err := wire.CheckTargets(set.declared); err != nil {
		return nil, err
	}
	for name, t := range set.byName {
		if t == own {
			continue
		}
		if was := old.find(name); was != nil && reflect.DeepEqual(was.from, t.from) {
			t.transport = was.transport
			continue
		}
		if err := checkSecretFiles(&t.http); err != nil {
			return nil, fmt.Errorf("target %s: %w", name, err)
		}
		if err := t.connect(dial); err != nil {
			return nil, fmt.Errorf("target %s: %w", name, err)
		}
	}
	return set, nil
}

func (s *targetSet) add(t *target) {
	s.byName[t.Name] = t
	s.declared = append(s.declared, t.Target)
}

// find is the target of that name, or nil.
func (s *targetSet) find(name string) *target {
	if s == nil {
		return nil
	}
	return s.byName[name]
}

// closeIdle closes the idle connections of targets that next does not share.
// Those in use close when they are done with.
func (s *targetSet) closeIdle(next *targetSet) {
	if s == nil {
		return
	}
	for name, t := range s.byName {
		if kept := next.find(name); kept == nil || kept.transport != t.transport {
			t.transport.closeIdle()
		}
	}
}

func newTarget(d declaration, labels map[string]string) (*target, error) {
	u, subtree, err := parseTargetURL(d.URL)
	if err != nil {
		return nil, err
	}
	if d.MaxInflight < 0 {
		return nil, fmt.Errorf("max_inflight: %d: must not be negative", d.MaxInflight)
	}
	all := maps.Clone(labels)
	if all == nil {
		all = make(map[string]string, len(d.Labels))
	}
	maps.Copy(all, d.Labels)
	port, err := portOf(u)
	if err != nil {
		return nil, err
	}
	if d.HTTP.FollowRedirects || d.HTTP.EnableHTTP2 {
		return nil, fmt.Errorf("follow_redirects and enable_http2 are not for an agent's targets: nothing undeclared is reached, and HTTP/1.1 is spoken")
	}
	http := d.HTTP
	if err := http.Validate(); err != nil {
		return nil, err
	}
	return &target{
		Target: wire.Target{
			Name: d.Name, Scheme: u.Scheme, Address: d.Address, Port: port,
			Path: u.EscapedPath(), Subtree: subtree, Labels: all, Listed: d.Listed,
		},
		url: u, maxInflight: d.MaxInflight, from: d, http: http,
	}, nil
}

// checkSecretFiles reports the first file of a secret that cannot be read. They
// are read with each scrape, when nobody is looking any more; the files of
// certificates are read at once.
func checkSecretFiles(c *promconfig.HTTPClientConfig) error {
	type file struct{ field, path string }
	var files []file
	if b := c.BasicAuth; b != nil {
		files = append(files, file{"basic_auth.username_file", b.UsernameFile}, file{"basic_auth.password_file", b.PasswordFile})
	}
	if a := c.Authorization; a != nil {
		files = append(files, file{"authorization.credentials_file", a.CredentialsFile})
	}
	if o := c.OAuth2; o != nil {
		files = append(files, file{"oauth2.client_secret_file", o.ClientSecretFile})
	}
	if c.HTTPHeaders != nil {
		for name, h := range c.HTTPHeaders.Headers {
			for _, path := range h.Files {
				files = append(files, file{"http_headers." + name + ".files", path})
			}
		}
	}
	for _, f := range files {
		if f.path == "" {
			continue
		}
		if _, err := settings.ReadFile(f.path); err != nil {
			return fmt.Errorf("%s: %w: it must be there and readable by the agent", f.field, err)
		}
	}
	return nil
}
