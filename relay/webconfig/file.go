package webconfig

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	promconfig "github.com/prometheus/common/config"
	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2"
	"golang.org/x/crypto/bcrypt"

	"github.com/farscrape/farscrape/relay/settings"
)

// A content is what the file and those it names say, once it was found good. It does
// not change.
type content struct {
	sum    [sha256.Size]byte // of all of them
	tls    *tls.Config       // nil: plain HTTP
	leaf   *x509.Certificate // what is shown; nil: plain HTTP
	users  map[string]promconfig.Secret
	header map[string]string
}

// read reads the files as they are now. It knows afterwards which they are.
func (w *Web) read() (*content, error) {
	c, err := w.readAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.Setting, err)
	}
	return c, nil
}

func (w *Web) readAll() (*content, error) {
	text, err := settings.ReadFile(w.File)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(text)
	conf := web.Config{TLSConfig: web.TLSConfig{MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS13}}
	if err := yaml.UnmarshalStrict(text, &conf); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File, fault(err))
	}
	if err := w.check(&conf); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File, err)
	}
	c := &content{users: conf.Users, header: conf.HTTPConfig.Header}
	if w.files = []string{w.File}; conf.TLSConfig.IsEnabled() {
		conf.TLSConfig.SetDirectory(filepath.Dir(w.File))
		named, err := w.readNamed(&conf.TLSConfig)
		if err != nil {
			return nil, err
		}
		for _, text := range named {
			fmt.Fprintf(sum, "%d ", len(text))
			sum.Write(text)
		}
		if err := c.setTLS(&conf.TLSConfig); err != nil {
			return nil, fmt.Errorf("%s: tls_server_config: %w", w.File, err)
		}
	}
	sum.Sum(c.sum[:0])
	return c, nil
}

// check refuses what this listener cannot do.
func (w *Web) check(c *web.Config) error {
	const tokens = ": only FARSCRAPE_OPS_WEB_CONFIG_FILE and the agent's FARSCRAPE_WEB_CONFIG_FILE may have any"
	switch {
	case c.RateLimiterConfig != web.RateLimiterConfig{}:
		return errors.New("rate_limit has no effect here, since every listener has bounds of its own: take it out")
	case !w.Operators && len(c.Users) > 0:
		return errors.New("basic_auth_users cannot be asked for where Authorization is a token's, or the target's" + tokens)
	case !w.Operators && len(c.HTTPConfig.Header) > 0:
		return errors.New("http_server_config.headers cannot be set where answers are the targets'" + tokens)
	case !w.Operators && !c.TLSConfig.IsEnabled():
		return errors.New("holds no tls_server_config: write one with cert_file and key_file, or unset the variable")
	}
	for user, hash := range c.Users {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return fmt.Errorf("basic_auth_users: %q has what is no bcrypt hash: make one with htpasswd -nBC 10 %q", user, user)
		}
	}
	if len(c.HTTPConfig.Header) > 0 { // that part of the toolkit's validation is not to be had alone
		if err := web.Validate(w.File); err != nil {
			said, _, _ := strings.Cut(err.Error(), ", but got:") // the value, which may be a secret
			return errors.New(said)
		}
	}
	return nil
}

// readNamed puts what the configuration's files hold in their place, so that what is
// checked is what will be served.
func (w *Web) readNamed(c *web.TLSConfig) (texts [][]byte, err error) {
	var key string
	for _, named := range []struct {
		what string
		path *string
		text *string
	}{{"cert_file", &c.TLSCertPath, &c.TLSCert}, {"key_file", &c.TLSKeyPath, &key}, {"client_ca_file", &c.ClientCAs, &c.ClientCAsText}} {
		if *named.path == "" {
			continue
		}
		w.files = append(w.files, *named.path)
		text, bad := settings.ReadFile(*named.path)
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("%s: %s: %w", w.File, named.what, bad))
		}
		*named.text, *named.path = string(text), ""
		texts = append(texts, text)
	}
	if key != "" {
		c.TLSKey = promconfig.Secret(key)
	}
	return texts, err
}

// setTLS makes the server's configuration of the file's.
func (c *content) setTLS(conf *web.TLSConfig) error {
	if conf.ClientCAsText != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(conf.ClientCAsText)) {
		return errors.New("client_ca or client_ca_file holds no PEM certificate")
	}
	made, err := web.ConfigToTLSConfig(conf)
	if err != nil {
		return err
	}
	pair, err := made.GetCertificate(nil) // which parses it anew each time
	if err != nil {
		return err
	}
	if c.leaf = pair.Leaf; c.leaf == nil {
		if c.leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return err
		}
	}
	made.GetCertificate, made.Certificates = nil, []tls.Certificate{*pair}
	made.NextProtos = []string{"http/1.1"}
	// A ticket would outlive the CAs and the names that are taken out of the file.
	made.SessionTicketsDisabled = made.ClientAuth != tls.NoClientCert
	c.tls = made
	return nil
}

// checkChange refuses what cannot come without a restart: clients that know the port
// by https must not come by plain HTTP because of a slip of the pen.
func (w *Web) checkChange(next *content) error {
	if (next.tls == nil) != (w.now.Load().tls == nil) {
		return fmt.Errorf("%s: %s: tls_server_config came or went, and TLS is turned on and off by a restart only", w.Setting, w.File)
	}
	return nil
}
