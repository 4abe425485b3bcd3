package webconfig

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"

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
	cas    *ClientCAs
	users  map[string]string // bcrypt hashes
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
	var conf format
	if err := yaml.UnmarshalStrict(text, &conf); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File, fault(err))
	}
	if err := w.check(&conf); err != nil {
		return nil, fmt.Errorf("%s: %w", w.File, err)
	}
	c := &content{users: conf.Users, header: conf.HTTP.Header, cas: new(ClientCAs)}
	if w.files = []string{w.File}; conf.TLS.isSet() {
		named, err := w.readNamed(&conf.TLS)
		if err != nil {
			return nil, err
		}
		for _, text := range named {
			fmt.Fprintf(sum, "%d ", len(text))
			sum.Write(text)
		}
		if err := c.setTLS(&conf.TLS); err != nil {
			return nil, fmt.Errorf("%s: tls_server_config: %w", w.File, err)
		}
		if w.Certificates != "" && c.tls.ClientAuth < tls.VerifyClientCertIfGiven {
			return nil, fmt.Errorf("%s: tls_server_config: %s needs client_ca_file, and client_auth_type VerifyClientCertIfGiven or RequireAndVerifyClientCert", w.File, w.Certificates)
		}
	}
	sum.Sum(c.sum[:0])
	return c, nil
}

// check refuses what this listener cannot do.
func (w *Web) check(c *format) error {
	const tokens = ": only FARSCRAPE_OPS_WEB_CONFIG_FILE and the agent's FARSCRAPE_WEB_CONFIG_FILE may have any"
	switch {
	case c.Rate != nil:
		return errors.New("rate_limit has no effect here, since every listener has bounds of its own: take it out")
	case !w.Operators && len(c.Users) > 0:
		return errors.New("basic_auth_users cannot be asked for where Authorization is a token's, or the target's" + tokens)
	case !w.Operators && len(c.HTTP.Header) > 0:
		return errors.New("http_server_config.headers cannot be set where answers are the targets'" + tokens)
	case !w.Operators && !c.TLS.isSet():
		return errors.New("holds no tls_server_config: write one with cert_file and key_file, or unset the variable")
	}
	for user, hash := range c.Users {
		if _, err := bcrypt.Cost([]byte(hash)); err != nil {
			return fmt.Errorf("basic_auth_users: %q has what is no bcrypt hash: make one with htpasswd -nBC 10 %q", user, user)
		}
	}
	return c.HTTP.check()
}

// readNamed puts what the configuration's files hold in their place, so that what is
// checked is what will be served.
func (w *Web) readNamed(c *tlsFormat) (texts [][]byte, err error) {
	for _, named := range []struct {
		what, path string
		text       *string
	}{{"cert_file", c.CertFile, &c.Cert}, {"key_file", c.KeyFile, &c.Key}, {"client_ca_file", c.ClientCAFile, &c.ClientCA}} {
		if named.path == "" {
			continue
		}
		path := named.path
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(w.File), path)
		}
		w.files = append(w.files, path)
		text, bad := settings.ReadFile(path)
		if bad != nil {
			err = errors.Join(err, fmt.Errorf("%s: %s: %w", w.File, named.what, bad))
		}
		*named.text = string(text)
		texts = append(texts, text)
	}
	return texts, err
}

// setTLS makes the server's configuration of the file's.
func (c *content) setTLS(conf *tlsFormat) error {
	made, err := conf.config()
	if err != nil {
		return err
	}
	if c.leaf, err = x509.ParseCertificate(made.Certificates[0].Certificate[0]); err != nil {
		return err
	}
	c.cas = clientCAs([]byte(conf.ClientCA))
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
