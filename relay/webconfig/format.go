package webconfig

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A format is what the file may hold: the keys of exporter-toolkit's. Its package is not
// used, since it brings templates and an OAuth2 client: 8 MB of a relay.
type format struct {
	TLS   tlsFormat         `yaml:"tls_server_config"`
	HTTP  httpFormat        `yaml:"http_server_config"`
	Rate  map[string]any    `yaml:"rate_limit"`
	Users map[string]string `yaml:"basic_auth_users"` // bcrypt hashes
}

type httpFormat struct {
	HTTP2  bool              `yaml:"http2"` // has no effect
	Header map[string]string `yaml:"headers"`
}

type tlsFormat struct {
	Cert         string   `yaml:"cert"`
	Key          string   `yaml:"key"`
	ClientCA     string   `yaml:"client_ca"`
	CertFile     string   `yaml:"cert_file"`
	KeyFile      string   `yaml:"key_file"`
	ClientCAFile string   `yaml:"client_ca_file"`
	ClientAuth   string   `yaml:"client_auth_type"`
	ClientSANs   []string `yaml:"client_allowed_sans"`
	Ciphers      []string `yaml:"cipher_suites"`
	Curves       []string `yaml:"curve_preferences"`
	MinVersion   string   `yaml:"min_version"`
	MaxVersion   string   `yaml:"max_version"`
	PreferServer bool     `yaml:"prefer_server_cipher_suites"` // has had no effect since Go 1.17
}

// isSet reports whether the file asks for TLS.
func (f *tlsFormat) isSet() bool {
	return f.Cert+f.Key+f.ClientCA+f.CertFile+f.KeyFile+f.ClientCAFile+f.ClientAuth+f.MinVersion+f.MaxVersion != "" ||
		len(f.ClientSANs)+len(f.Ciphers)+len(f.Curves) > 0
}

// plainField is what names of fields look like; what else stands there may be a secret.
var plainField = regexp.MustCompile(`^[A-Z][A-Za-z-]{1,40}$`)

var (
	versions = map[string]uint16{"TLS10": tls.VersionTLS10, "TLS11": tls.VersionTLS11, "TLS12": tls.VersionTLS12, "TLS13": tls.VersionTLS13}
	curves   = map[string]tls.CurveID{
		"CurveP256": tls.CurveP256, "CurveP384": tls.CurveP384, "CurveP521": tls.CurveP521, "X25519": tls.X25519, "X25519MLKEM768": tls.X25519MLKEM768,
	}
	policies = map[string]tls.ClientAuthType{
		"": tls.NoClientCert, "NoClientCert": tls.NoClientCert, "RequestClientCert": tls.RequestClientCert,
		"RequireAnyClientCert": tls.RequireAnyClientCert, "RequireClientCert": tls.RequireAnyClientCert,
		"VerifyClientCertIfGiven": tls.VerifyClientCertIfGiven, "RequireAndVerifyClientCert": tls.RequireAndVerifyClientCert,
	}
)

// config makes a server's configuration of it, once the files it names are read. Nothing
// that it says quotes a value but for names of the format's.
func (f *tlsFormat) config() (*tls.Config, error) {
	switch {
	case f.Cert == "":
		return nil, errors.New("cert or cert_file is missing")
	case f.Key == "":
		return nil, errors.New("key or key_file is missing")
	}
	pair, err := tls.X509KeyPair([]byte(f.Cert), []byte(f.Key))
	if err != nil {
		return nil, fmt.Errorf("the certificate and its key: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}
	for _, v := range []struct {
		key, name string
		to        *uint16
	}{{"min_version", f.MinVersion, &c.MinVersion}, {"max_version", f.MaxVersion, &c.MaxVersion}} {
		if version, ok := versions[v.name]; ok {
			*v.to = version
		} else if v.name != "" {
			return nil, fmt.Errorf("%s: must be TLS10, TLS11, TLS12 or TLS13", v.key)
		}
	}
	for _, name := range f.Ciphers {
		suites := tls.CipherSuites() // without those that Go holds for insecure
		i := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, errors.New("cipher_suites: one that Go does not have, or holds for insecure")
		}
		c.CipherSuites = append(c.CipherSuites, suites[i].ID)
	}
	for _, name := range f.Curves {
		id, ok := curves[name]
		if !ok {
			return nil, errors.New("curve_preferences: must be of CurveP256, CurveP384, CurveP521, X25519 and X25519MLKEM768")
		}
		c.CurvePreferences = append(c.CurvePreferences, id)
	}
	return c, f.clients(c)
}

// clients sets what is asked of clients' certificates.
func (f *tlsFormat) clients(c *tls.Config) error {
	policy, ok := policies[f.ClientAuth]
	switch {
	case !ok:
		return errors.New("client_auth_type: must be NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert")
	case f.ClientCA == "" && (policy == tls.VerifyClientCertIfGiven || policy == tls.RequireAndVerifyClientCert):
		return errors.New("client_auth_type: needs client_ca or client_ca_file")
	case policy == tls.NoClientCert && (f.ClientCA != "" || len(f.ClientSANs) > 0):
		return errors.New("client_ca or client_allowed_sans has no effect without client_auth_type: RequireAndVerifyClientCert, or another")
	}
	c.ClientAuth = policy
	if f.ClientCA != "" {
		if c.ClientCAs = x509.NewCertPool(); !c.ClientCAs.AppendCertsFromPEM([]byte(f.ClientCA)) {
			return errors.New("client_ca or client_ca_file holds no PEM certificate")
		}
	}
	if allowed := slices.Clone(f.ClientSANs); len(allowed) > 0 {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) > 0 && slices.ContainsFunc(namesOf(s.PeerCertificates[0]), func(n string) bool { return slices.Contains(allowed, n) }) {
				return nil
			}
			return errors.New("the client's certificate has none of client_allowed_sans")
		}
	}
	return nil
}

// namesOf are a certificate's subject alternative names.
func namesOf(c *x509.Certificate) []string {
	names := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for _, uri := range c.URIs {
		names = append(names, uri.String())
	}
	return names
}

// headerValues are the fields that may be set, and their values; none: any.
var headerValues = map[string][]string{
	"Strict-Transport-Security": nil, "X-XSS-Protection": nil, "Content-Security-Policy": nil,
	"X-Content-Type-Options": {"nosniff"}, "X-Frame-Options": {"deny", "sameorigin"},
}

func (f *httpFormat) check() error {
	for name, value := range f.Header {
		values, ok := headerValues[name]
		switch {
		case !ok && plainField.MatchString(name):
			return fmt.Errorf("http_server_config.headers: %s is not one that can be set", name)
		case !ok:
			return errors.New("http_server_config.headers: one that cannot be set")
		case len(values) > 0 && !slices.Contains(values, value):
			return fmt.Errorf("http_server_config.headers: %s must be %s", name, strings.Join(values, " or "))
		}
	}
	return nil
}
