package certname

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/farscrape/farscrape/relay/wire"
)

// holding is a certificate with these subject alternative names.
func holding(names ...string) *x509.Certificate {
	c := new(x509.Certificate)
	for _, n := range names {
		if !strings.Contains(n, ":") {
			c.DNSNames = append(c.DNSNames, n)
			continue
		}
		u, err := url.Parse(n)
		if err != nil {
			panic(err)
		}
		c.URIs = append(c.URIs, u)
	}
	return c
}

func pattern(t testing.TB, text string) *Pattern {
	t.Helper()
	p, err := ParsePattern(text, "agent")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhoseACertificateIs(t *testing.T) {
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("edge-%d", i)
	}
	ca := holding("spiffe://example.org/tenant/blue/agent/edge-1")
	ca.IsCA = true
	for _, c := range []struct {
		what, asked string
		of          *x509.Certificate
		tenant      string
		want        string // the name, or what the error says
	}{
		{"a DNS name", "", holding("edge-1.example.com"), "default", "edge-1.example.com"},
		{"in upper case", "edge-1", holding("EDGE-1"), "default", "edge-1"},
		{"twice", "", holding("edge-1", "Edge-1"), "default", "edge-1"},
		{"beside a wildcard", "", holding("*.example.com", "edge-1"), "default", "edge-1"},
		{"beside a URI of another kind", "", holding("https://example.com/", "edge-1"), "default", "edge-1"},
		{"another's", "edge-2", holding("edge-1"), "", `is for "edge-1", and does not allow the name "edge-2"`},
		{"one of several", "edge-2", holding("edge-1", "edge-2"), "default", "edge-2"},
		{"none of several", "edge-3", holding("edge-1", "edge-2"), "", `has 2 DNS names, and "edge-3" is not among them`},
		{"several, and nobody asks", "", holding("edge-1", "edge-2"), "", "has 2 DNS names: set FARSCRAPE_NAME to one of them"},
		{"a hundred and one", "edge-1", holding(many...), "", "has 101 DNS names: at most 100"},
		{"a wildcard", "", holding("*.example.com"), "", "names nobody"},
		{"an address, as a DNS name", "", holding("10.0.0.1"), "", "names nobody"},
		{"localhost", "", holding("localhost"), "", "names nobody"},
		{"nothing", "", holding(), "", "names nobody"},
		{"a SPIFFE ID", "edge-1", holding("spiffe://example.org/tenant/blue/agent/edge-1"), "blue", "edge-1"},
		{"which wins over a DNS name", "", holding("other", "spiffe://example.org/tenant/blue/agent/edge-1"), "blue", "edge-1"},
		{"another's SPIFFE ID", "edge-2", holding("spiffe://example.org/tenant/blue/agent/edge-1"), "", `does not allow the name "edge-2"`},
		{"one that is not like the pattern, and a DNS name", "", holding("edge-1", "spiffe://example.org/ns/blue/sa/edge-1"), "", "which is not like spiffe://*/tenant/{tenant}/agent/{agent}"},
		{"a scraper's", "", holding("spiffe://example.org/tenant/blue/scraper/edge-1"), "", "which is not like"},
		{"a name in upper case", "", holding("spiffe://example.org/tenant/blue/agent/Edge-1"), "", "not a DNS name in lower case"},
		{"a tenant that is none", "", holding("spiffe://example.org/tenant/" + strings.Repeat("a", 65) + "/agent/edge-1"), "", "which is not like"},
		{"a second URI", "", holding("spiffe://example.org/tenant/blue/agent/edge-1", "https://example.com"), "", "has another URI beside its SPIFFE ID"},
		{"a second SPIFFE ID", "", holding("spiffe://example.org/tenant/blue/agent/edge-1", "spiffe://example.org/tenant/red/agent/edge-1"), "", "has another URI"},
		{"a CA's", "", ca, "", "CAs are no workloads"},
		{"an escape", "", holding("spiffe://example.org/tenant/blue/agent/edge%2D1"), "", "no SPIFFE ID"},
		{"a slash that is escaped", "", holding("spiffe://example.org/tenant/blue%2Fagent/edge-1"), "", "no SPIFFE ID"},
		{"a port", "", holding("spiffe://example.org:8080/tenant/blue/agent/edge-1"), "", "no SPIFFE ID"},
		{"a user", "", holding("spiffe://u@example.org/tenant/blue/agent/edge-1"), "", "no SPIFFE ID"},
		{"a query", "", holding("spiffe://example.org/tenant/blue/agent/edge-1?"), "", "no SPIFFE ID"},
		{"a fragment", "", holding("spiffe://example.org/tenant/blue/agent/edge-1#x"), "", "no SPIFFE ID"},
		{"a slash too many", "", holding("spiffe://example.org/tenant/blue/agent/edge-1/"), "", "no SPIFFE ID"},
		{"dots", "", holding("spiffe://example.org/tenant/../agent/edge-1"), "", "no SPIFFE ID"},
		{"a trust domain in upper case", "", holding("spiffe://Example.org/tenant/blue/agent/edge-1"), "", "no SPIFFE ID"},
		{"no trust domain", "", holding("spiffe:///tenant/blue/agent/edge-1"), "", "no SPIFFE ID"},
		{"too long", "", holding("spiffe://example.org/tenant/blue/agent/" + strings.Repeat("a", maxID)), "", "no SPIFFE ID"},
	} {
		is, err := Agent(c.of, pattern(t, AgentPattern), c.asked)
		if c.tenant != "" && (err != nil || is != Identity{c.tenant, c.want}) {
			t.Errorf("%s: %v, %v", c.what, is, err)
		}
		if c.tenant == "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 512) {
			t.Errorf("%s: %v, %v", c.what, is, err)
		}
	}
}

func TestPatterns(t *testing.T) {
	of := func(id string) ID {
		parsed, err := SPIFFE(holding(id))
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for _, c := range []struct {
		pattern, id string
		want        Identity // the zero one: none
	}{
		{"spiffe://example.org/ns/{tenant}/sa/{agent}", "spiffe://example.org/ns/blue/sa/edge", Identity{"blue", "edge"}},
		{"spiffe://example.org/ns/{tenant}/sa/{agent}", "spiffe://example.com/ns/blue/sa/edge", Identity{}},
		{"spiffe://example.org/ns/{tenant}/sa/{agent}", "spiffe://example.org/ns/blue/sa/edge/x", Identity{}},
		{"spiffe://example.org/ns/{tenant}/sa/{agent}", "spiffe://example.org/ns/blue/sa", Identity{}},
		{"spiffe://example.org/*/{agent}", "spiffe://example.org/anything/edge", Identity{wire.DefaultTenant, "edge"}},
		{"spiffe://{tenant}/{agent}", "spiffe://blue.example.org/edge", Identity{"blue.example.org", "edge"}},
		{"spiffe://*/{agent}", "spiffe://example.org", Identity{}},
	} {
		if is, ok := pattern(t, c.pattern).Match(of(c.id)); ok != (c.want != Identity{}) || ok && is != c.want {
			t.Errorf("%s, %s: %v", c.pattern, c.id, is)
		}
	}
	for bad, want := range map[string]string{
		"":                               "must be like",
		"https://example.org/{agent}":    "must be like",
		"spiffe://{agent}":               "no {agent} in its path",
		"spiffe://example.org/{tenant}":  "no {agent} in its path",
		"spiffe://example.org/{scraper}": `"{scraper}", is neither`,
		"spiffe://example.org/edge-{agent}/{agent}":    `"edge-{agent}", is neither`,
		"spiffe://example.org/{agent}/{agent}":         "has {agent} twice",
		"spiffe://{tenant}/{tenant}/{agent}":           "has {tenant} twice",
		"spiffe://example.org//{agent}":                `"", is neither`,
		"spiffe://Example.org/{agent}":                 `"Example.org", is neither`,
		"spiffe://example.org/ed*e/{agent}":            `"ed*e", is neither`,
		"spiffe://" + strings.Repeat("a/", 2000) + "x": "must be like",
	} {
		if _, err := ParsePattern(bad, "agent"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "must be like spiffe://example.org/tenant/{tenant}/agent/{agent}") {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

// Whatever somebody writes into a pattern or a certificate, what comes out is a tenant
// and a name, and an ID that matches is made of the pattern's parts.
func FuzzPattern(f *testing.F) {
	f.Add(AgentPattern, "spiffe://example.org/tenant/blue/agent/edge-1")
	f.Add("spiffe://example.org/*/{agent}", "spiffe://example.org/a/edge%201")
	f.Add("spiffe://{tenant}/{agent}", "SPIFFE://example.org/tenant/blue/agent/edge-1?#")
	f.Fuzz(func(t *testing.T, text, id string) {
		p, err := ParsePattern(text, "agent")
		if err != nil {
			return
		}
		u, err := url.Parse(id)
		if err != nil {
			return
		}
		parsed, err := SPIFFE(&x509.Certificate{URIs: []*url.URL{u}})
		if err != nil || parsed == nil {
			return
		}
		if again, err := SPIFFE(holding(parsed.String())); err != nil || again.String() != parsed.String() {
			t.Errorf("%q is read as %q, and that as %q: %v", id, parsed, again, err)
		}
		is, ok := p.Match(parsed)
		if !ok {
			return
		}
		made := strings.NewReplacer("{tenant}", is.Tenant, "{agent}", is.Name).Replace(p.String())
		if !strings.Contains(text, "*") && made != parsed.String() || wire.CheckName("tenant", is.Tenant) != nil || is.Name == "" {
			t.Errorf("%q and %q make %v", text, parsed, is)
		}
	})
}
