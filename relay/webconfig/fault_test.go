package webconfig_test

import (
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/certtest"
)

// What somebody reads who has written a wrong file: the variable, the file, what is
// wrong in it, and nothing that could be secret.
func TestWhatAWrongFileSays(t *testing.T) {
	w := newWorld(t)
	pair := certtest.New(t, "first", time.Now().Add(time.Hour))
	pair.Write(t, w.dir)
	w.write("none.pem", "s3cret")
	for _, c := range []struct {
		mistake   string
		operators bool
		text      string
		want      string // after the variable and the file
	}{
		{"an unknown key", true, "tls_server_config: {cert_fil: s3cret}", "line 1: a key that is unknown, or is there twice: cert_fil; the format is exporter-toolkit's"},
		{"a secret for a key", true, "tls_server_config:\n  S3cret-s3cret: x", "line 2: a key that is unknown, or is there twice; the format"},
		{"a text for a mapping", true, "basic_auth_users: s3cret", "line 1: a value of the wrong kind; the format"},
		{"an unknown version", true, withTLSAnd + "min_version: S3CRET}", "tls_server_config: min_version: must be TLS10, TLS11, TLS12 or TLS13"},
		{"an unknown cipher", true, withTLSAnd + "cipher_suites: [S3CRET]}", "tls_server_config: cipher_suites: one that Go does not have"},
		{"an insecure cipher", true, withTLSAnd + "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}", "tls_server_config: cipher_suites: one that Go does not have, or holds for insecure"},
		{"an unknown curve", true, withTLSAnd + "curve_preferences: [S3CRET]}", "tls_server_config: curve_preferences: must be of CurveP256"},
		{"an unknown policy", true, withTLSAnd + "client_auth_type: S3CRET}", "tls_server_config: client_auth_type: must be NoClientCert"},
		{"clients checked by nobody", true, withTLSAnd + "client_auth_type: RequireAndVerifyClientCert}", "tls_server_config: client_auth_type: needs client_ca or client_ca_file"},
		{"a secret for a field", true, "http_server_config: {headers: {s3cret: x}}", "http_server_config.headers: one that cannot be set"},
		{"no YAML", true, "a: [s3cret", "line 1: did not find expected ',' or ']'; the format"},
		{"no key", true, "tls_server_config: {cert_file: cert.pem}", "tls_server_config: key or key_file is missing"},
		{"no certificate there", true, "tls_server_config: {cert_file: gone.pem, key_file: key.pem}", "cert_file: open " + w.dir + "/gone.pem: no such file or directory"},
		{"what is no certificate", true, "tls_server_config: {cert_file: none.pem, key_file: key.pem}", "tls_server_config: the certificate and its key: tls: failed to find any PEM data in certificate input"},
		{"what is no CA", true, "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: none.pem, client_auth_type: RequireAndVerifyClientCert}", "tls_server_config: client_ca or client_ca_file holds no PEM certificate"},
		{"a CA for nothing", true, "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem}", "tls_server_config: client_ca or client_allowed_sans has no effect without client_auth_type"},
		{"a password in clear", true, "basic_auth_users: {alice: s3cret}", `basic_auth_users: "alice" has what is no bcrypt hash: make one with htpasswd -nBC 10 "alice"`},
		{"a field that is not let set", true, "http_server_config: {headers: {Location: s3cret}}", "http_server_config.headers: Location is not one that can be set"},
		{"a rate", true, "rate_limit: {interval: 1s, burst: 1}", "rate_limit has no effect here"},
		{"users where tokens are", false, withTLS + "basic_auth_users: {alice: s3cret}", "basic_auth_users cannot be asked for where Authorization is a token's, or the target's: only FARSCRAPE_OPS_WEB_CONFIG_FILE and the agent's"},
		{"a field's value that is none", true, "http_server_config: {headers: {X-Frame-Options: s3cret}}", "http_server_config.headers: X-Frame-Options must be deny or sameorigin"},
		{"an alias of nothing", true, "basic_auth_users: {alice: *s3cret}", "a value that begins with * must stand in quotes"},
		{"fields where targets answer", false, withTLS + "http_server_config: {headers: {X-Frame-Options: deny}}", "http_server_config.headers cannot be set where answers are the targets': only"},
		{"no TLS where there is nothing else", false, "", "holds no tls_server_config: write one with cert_file and key_file, or unset the variable"},
	} {
		w.write("web.yaml", c.text)
		_, err := w.open(c.operators)
		if err == nil || !strings.HasPrefix(err.Error(), setting+": "+w.file+": "+c.want) || strings.Contains(strings.ToLower(err.Error()), "s3cret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.mistake, err)
		}
	}
	w.file += ".gone"
	if _, err := w.open(true); err == nil || !strings.HasPrefix(err.Error(), setting+": open "+w.file) {
		t.Errorf("no file: %v", err)
	}
}
