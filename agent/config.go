package agent

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
)

// Config is the agent's environment; [settings.Load] fills it.
type Config struct {
	RelayURL    string `env:"RELAY_URL,required,notEmpty" help:"Where the relay is: https://relay.example.com[/prefix], or wss, http, ws. Several replicas stand behind it."`
	Token       string `env:"TOKEN" help:"The agent's token, as farscrape-relay token -agent NAME prints it. It, TOKEN_FILE or TLS_CERT_FILE must be set, unless the agent joins or has joined."`
	TokenFile   string `env:"TOKEN_FILE" help:"A file with the token, read at each dial. One that the relay gives in its place, in time, is written to it if the agent may write there, and else to STATE_DIR."`
	JoinToken   string `env:"JOIN_TOKEN_FILE" help:"A file with a join token, as farscrape-relay token -join NAME prints it, for an agent without a token: it is redeemed once, for a token of the agent's own, which STATE_DIR keeps. One folder is one agent's."`
	Name        string `env:"NAME" help:"The agent's name, a DNS name. Default: the token's name if it holds one, else this host's fully qualified name; without a token the name in TLS_CERT_FILE: its DNS name, or the end of a SPIFFE ID like spiffe://*/tenant/{tenant}/agent/{agent}. In a container one of these must be set."`
	Targets     string `env:"TARGETS" help:"What may be scraped: node=http://localhost:9100/metrics,app=http://app.internal:8080/metrics. No path means /metrics; a URL that ends in /* declares all paths under it, and service discovery does not list it."`
	TargetsFile string `env:"TARGETS_FILE" help:"A YAML or JSON file: targets: [{name, url, address, labels, listed, max_inflight, basic_auth, authorization, tls_config, proxy_url, ...}], or the list alone; the HTTP settings in Prometheus's own format, paths in it relative to the file. With listed: false service discovery leaves a target out, which is the default for /*. It adds to TARGETS and is watched."`
	Labels      string `env:"LABELS" help:"Labels for every target: site=berlin,env=prod. A target's own win."`
	Links       int    `env:"LINKS" envDefault:"2" help:"Links to keep, each to another replica; fewer while there are fewer replicas."`
	Shared      bool   `env:"SHARED" envDefault:"false" help:"Other agents may hold the same name: primary and standbys."`
	Ephemeral   bool   `env:"EPHEMERAL" envDefault:"false" help:"Delist the targets at once when the agent stops, and 5 minutes after it vanished (for pods)."`
	Listen      string `env:"LISTEN" help:"An address for the agent's own /metrics, /-/healthy and /-/ready. Without one the metrics are still to be had: every agent has a target called farscrape."`
	WebConfig   string `env:"WEB_CONFIG_FILE" help:"TLS and users (basic_auth_users) at LISTEN: a YAML file in the format of Prometheus's exporter-toolkit. It and the files it names are watched; a bad one leaves the last good one. HTTP/1.1 only, whatever it says of http2."`
	TLSCAFile   string `env:"TLS_CA_FILE" help:"CA certificates that the relay's is checked against, instead of the system's. This and the next three are read at each dial."`
	TLSCertFile string `env:"TLS_CERT_FILE" help:"A client certificate: for the relay, where its AGENT_AUTH takes certificates instead of tokens or beside them, or for whoever else asks for one on the way."`
	TLSKeyFile  string `env:"TLS_KEY_FILE" help:"Its key."`
	HeadersFile string `env:"HEADERS_FILE" help:"Header fields for the dial, one 'Name: value' a line, for a proxy in front of the relay. HTTPS_PROXY and NO_PROXY hold for the relay too, and for nothing else."`
	StateDir    string `env:"STATE_DIR" help:"A folder for what outlives the agent: a token that its relay gives it in time, in the place of one that it cannot write to TOKEN_FILE, and what it has joined by. Default: the one that systemd made for it, else the user's state home ($XDG_STATE_HOME/farscrape, ~/.local/state/farscrape)."`
	LogLevel    string `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error."`
	LogFormat   string `env:"LOG_FORMAT" envDefault:"text" help:"text or json."`
}

// tokenSetting is the variable that the token came by.
func (c *Config) tokenSetting() string {
	if c.TokenFile != "" {
		return "FARSCRAPE_TOKEN_FILE"
	}
	return "FARSCRAPE_TOKEN"
}

// token is the agent's token as it is now; empty if it has a certificate instead.
func (c *Config) token() (string, error) {
	token, err := settings.Secret(c.Token, c.TokenFile, "TOKEN")
	if err != nil {
		return "", err
	}
	if len(token) == 0 {
		return "", c.checkWithoutToken()
	}
	for _, b := range token {
		if b <= ' ' || b >= 0x7f {
			return "", fmt.Errorf("%s: holds a character that no token has: it must be one line, as farscrape-relay token -agent NAME prints it", c.tokenSetting())
		}
	}
	return string(token), nil
}

// connectURL is the URL that links are opened at.
func (c *Config) connectURL() (*url.URL, error) {
	u, err := url.Parse(c.RelayURL)
	if err != nil { // the error would quote the URL, and with it a password
		return nil, errors.New("FARSCRAPE_RELAY_URL: not a URL: write https://relay.example.com")
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, errors.New("FARSCRAPE_RELAY_URL: must start with https://, wss://, http:// or ws://")
	}
	switch {
	case u.Hostname() == "":
		return nil, errors.New("FARSCRAPE_RELAY_URL: names no host: write https://relay.example.com")
	case u.User != nil:
		return nil, errors.New("FARSCRAPE_RELAY_URL: must hold no user name: the agent shows its token")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("FARSCRAPE_RELAY_URL: must have no ? and no #")
	}
	return u.JoinPath(strings.TrimPrefix(wire.ConnectPath, "/")), nil
}

// headers reads HEADERS_FILE: one "Name: value" a line; empty lines and lines
// that start with # do not count.
func (c *Config) headers() ([]wire.Field, error) {
	if c.HeadersFile == "" {
		return nil, nil
	}
	content, err := settings.ReadFile(c.HeadersFile)
	if err != nil {
		return nil, fmt.Errorf("FARSCRAPE_HEADERS_FILE: %w", err)
	}
	var fields []wire.Field
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		f := wire.Field{Name: name, Value: strings.TrimSpace(value)}
		switch {
		case !ok || !wire.ValidField(f): // not quoted: it may be a secret
			return nil, fmt.Errorf("FARSCRAPE_HEADERS_FILE: line %d is not 'Name: value'", n)
		case ownDialField(name):
			return nil, fmt.Errorf("FARSCRAPE_HEADERS_FILE: line %d: %s is the agent's own to set", n, name)
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// ownDialField reports whether the dial itself needs a header field.
func ownDialField(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "authorization", "connection", "upgrade", "host", "content-length", "transfer-encoding":
		return true
	}
	return strings.HasPrefix(name, "sec-websocket-") || strings.HasPrefix(name, strings.ToLower(wire.HeaderPrefix))
}
