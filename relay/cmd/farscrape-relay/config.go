package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/settings"
	"github.com/farscrape/farscrape/relay/wire"
	"github.com/farscrape/farscrape/store"
)

// config is the relay's environment; each name has FARSCRAPE_ before it.
type config struct {
	Listen     string `env:"LISTEN" help:"where agents and Prometheus connect; by default 127.0.0.1:8080, or :n where the platform sets PORT=n"`
	EdgeListen string `env:"EDGE_LISTEN" help:"when set, the Prometheus side is served only here and the agent side only on LISTEN"`
	OpsListen  string `env:"OPS_LISTEN" help:"when set, /metrics and pprof are served only here; pprof nowhere else ever"`

	WebConfigFile     string `env:"WEB_CONFIG_FILE" help:"TLS at LISTEN: a YAML file in the format of Prometheus's exporter-toolkit, tls_server_config: {cert_file, key_file, ...}. It and the files it names are watched: a new certificate is taken without dropping a link or a scrape, and a bad one leaves the last good one. HTTP/1.1 only, at every port, whatever it says of http2"`
	EdgeWebConfigFile string `env:"EDGE_WEB_CONFIG_FILE" help:"the same for EDGE_LISTEN"`
	OpsWebConfigFile  string `env:"OPS_WEB_CONFIG_FILE" help:"the same for OPS_LISTEN, where it may have basic_auth_users, with or without TLS, and http_server_config.headers too"`

	RedisURL     string `env:"REDIS_URL" help:"redis://[user:password@]host:6379, or another of the forms below. Empty: the embedded store, for exactly one replica"`
	RedisURLFile string `env:"REDIS_URL_FILE" help:"a file that holds REDIS_URL"`
	RedisCA      string `env:"REDIS_TLS_CA_FILE" help:"PEM certificates that may sign Redis's; by default the system's"`
	RedisCert    string `env:"REDIS_TLS_CERT_FILE" help:"the relay's own certificate for Redis, PEM"`
	RedisKey     string `env:"REDIS_TLS_KEY_FILE" help:"and its key"`
	RedisPrefix  string `env:"REDIS_PREFIX" envDefault:"farscrape:" help:"before every key and channel in Redis"`
	RedisPubSub  string `env:"REDIS_PUBSUB" envDefault:"auto" help:"auto: on a Cluster of Redis 7.0 or later what replicas say to each other stays with the node that the receiver listens at, by sharded pub/sub; elsewhere it goes by plain one, which a Cluster sends to every node. sharded: where Redis refuses that, the bus stays down. plain: never sharded"`
	BusSeal      string `env:"BUS_SEAL" envDefault:"auto" help:"auto: what comes from other replicas must be sealed with a key of KEY, but while one is alive that is too old for it. always: it must be sealed whatever Redis says of older ones"`

	Key          string        `env:"KEY" help:"signs and checks tokens, at least 32 bytes: openssl rand -hex 32. One key a line: the first signs, all check. Without one, on loopback addresses and without Redis, a random one is made"`
	KeyFile      string        `env:"KEY_FILE" help:"a file that holds KEY; watched, so that keys change without a restart: links whose key is no longer in it end within 5s"`
	TokenMaxLife time.Duration `env:"TOKEN_MAX_LIFE" help:"no token is renewed past it, from when the first of them was made; by default without bound. Tokens of agents are renewed over their links once two thirds of their life are over, or another key signs"`

	AgentAuth       string   `env:"AGENT_AUTH" envDefault:"token" help:"what agents show: token; certificate, a client certificate that WEB_CONFIG_FILE's client_ca_file stands for; either, a token if one is shown, or else the certificate; both, of one name"`
	EdgeAuth        string   `env:"EDGE_AUTH" envDefault:"token" help:"what scrapers show: token, certificate, either or both, the same; or none: who reaches EDGE_LISTEN, a private address, may scrape"`
	AgentSPIFFE     string   `env:"AGENT_SPIFFE" envDefault:"spiffe://*/tenant/{tenant}/agent/{agent}" help:"which SPIFFE IDs are agents', and what they are called: each part is itself, * for any, {tenant} or {agent}. A certificate without a SPIFFE ID is the agent's of its DNS name, in the default tenant"`
	ScraperSPIFFE   string   `env:"SCRAPER_SPIFFE" help:"the same of scrapers, who scrape all agents of their tenant: spiffe://example.org/tenant/{tenant}/scraper/{scraper}. Without it none is one"`
	ScraperDNSNames []string `env:"SCRAPER_DNS_NAMES" help:"which DNS names make a certificate a scraper's, of the default tenant, and no agent's: prometheus.example.com,prom-*.example.com"`
	ClientCRLFile   string   `env:"CLIENT_CRL_FILE" help:"certificates that their CAs have taken back: a revocation list in DER, or any number in PEM, 4 MiB at most. Watched: links end within 5s"`

	RevokedFile    string `env:"REVOKED_FILE" help:"a list of what is taken back, beside what farscrape-relay revoke wrote into Redis: a line is a token's ID, agent:NAME or a pattern, or scraper:NAME, and before=TIME and tenant=NAME may follow; without before= whatever is issued is dead. Watched: links end within 5s. It holds at this replica. With the embedded store farscrape-relay revoke edits it"`
	RevokedUnknown string `env:"REVOKED_UNKNOWN" envDefault:"allow" help:"where Redis was away since this replica started, nobody can say what is taken back: allow lets in whose token verifies, refuse nobody, until it is known"`

	PublicURL      string            `env:"PUBLIC_URL" help:"the URL that Prometheus has for the relay, for discovery; by default from the request"`
	OwnHosts       []string          `env:"OWN_HOSTS" help:"other hosts by which agents and Prometheus reach the relay, separated by commas: no agent is named so or declares an address there. PUBLIC_URL's, localhost and what Fly, Azure Container Apps, Render and Railway tell are known"`
	OriginForm     string            `env:"ORIGIN_FORM" envDefault:"names" help:"which Hosts make a request in origin form one of proxy mode: names, those of agents; addresses, those that targets declare, too: set it where a front-end rewrites proxy_url's requests, with PUBLIC_URL or OWN_HOSTS"`
	TrustedProxies settings.Prefixes `env:"TRUSTED_PROXIES" help:"the load balancers whose X-Forwarded-Host, -Proto and -For count: networks such as 10.0.0.0/8, separated by commas. Logs, the API, limits and tokens bound to networks then go by the address that the balancer has a request from"`
	ProxyProtocol  bool              `env:"PROXY_PROTOCOL" help:"true: at LISTEN and EDGE_LISTEN the TRUSTED_PROXIES may begin a connection with a header of the PROXY protocol, version 1 or 2, which says whose it is; before TLS. From others such a header is refused. Only for balancers that put one before what a client sends, or drop the client's"`

	ScrapeTimeout     time.Duration  `env:"SCRAPE_TIMEOUT" envDefault:"10s" help:"of a scrape that sends none"`
	ScrapeMaxTimeout  time.Duration  `env:"SCRAPE_MAX_TIMEOUT" envDefault:"5m" help:"no scrape takes longer"`
	MaxBody           settings.Bytes `env:"MAX_BODY" envDefault:"256MiB" help:"past it the scrape fails"`
	MaxInflightTarget int            `env:"MAX_INFLIGHT_TARGET" envDefault:"64" help:"scrapes of one target at once; more wait for half their time"`
	MaxInflightAgent  int            `env:"MAX_INFLIGHT_AGENT" envDefault:"256" help:"scrapes of one agent at once"`
	MaxLinks          int            `env:"MAX_LINKS" envDefault:"12000" help:"links of agents to this replica, 20 KiB of memory each; one tenant fills two thirds of them, one token half, so that nobody keeps the others out"`
	AgentMaxTargets   int            `env:"AGENT_MAX_TARGETS" envDefault:"10000" help:"targets of an agent; one that declares more is not linked, and its log says why"`
	AgentMaxLabels    int            `env:"AGENT_MAX_LABELS" envDefault:"32" help:"labels of a target, the same; at most 64"`
	AgentMaxBytes     settings.Bytes `env:"AGENT_MAX_BYTES" envDefault:"2MiB" help:"an agent's targets, encoded, the same; at most 4MiB. In memory they take up to 13 times as much"`

	TenantMaxAgents  int            `env:"TENANT_MAX_AGENTS" envDefault:"10000" help:"agents of a tenant, with those that departed and are listed; one more is refused by name. Of this and the next two, tokens for a pattern fill three quarters"`
	TenantMaxTargets int            `env:"TENANT_MAX_TARGETS" envDefault:"100000" help:"targets of them all"`
	TenantMaxBytes   settings.Bytes `env:"TENANT_MAX_BYTES" envDefault:"32MiB" help:"those targets, encoded: 100,000 with five labels have 19 MB. A listing takes 3.5 times as much memory while it is made, 13 times at worst"`

	LinkMaxAge   time.Duration `env:"LINK_MAX_AGE" envDefault:"50m" help:"links are moved at this age, less up to 10 %; below what the platform cuts a WebSocket at"`
	DrainTimeout time.Duration `env:"DRAIN_TIMEOUT" envDefault:"8s" help:"how long a stop may take: fits a grace period of 10 s"`
	SDKeep       time.Duration `env:"SD_KEEP" envDefault:"168h" help:"how long a departed agent's targets stay listed, so that up == 0 keeps firing"`
	SDGrace      time.Duration `env:"SD_GRACE" envDefault:"45s" help:"how long after Redis came up empty, or the embedded store started, agents may take to come back: until then discovery is 503 rather than incomplete, and an agent that is not there 503 rather than 404"`

	LogLevel  string `env:"LOG_LEVEL" envDefault:"info" help:"debug, info, warn or error"`
	LogFormat string `env:"LOG_FORMAT" envDefault:"text" help:"text or json"`

	platformHosts []string // this relay's names, by what the platform says
}

// loadConfig reads the environment and checks what can be checked without
// touching anything.
func loadConfig(environ []string) (*config, error) {
	c := new(config)
	if err := settings.Load(c, environ); err != nil {
		return nil, err
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:8080"
		for _, e := range environ {
			if port, ok := strings.CutPrefix(e, "PORT="); ok && port != "" {
				c.Listen = ":" + port
			}
		}
	}
	c.platformHosts = platformHosts(environ)
	return c, errors.Join(c.checkListeners(), c.checkAuth(), c.checkCertificates(), c.checkNumbers(), c.checkURL(), c.checkOwnHosts(), c.checkOrigin())
}

func (c *config) checkAuth() error {
	switch {
	case c.EdgeAuth == "none" && c.EdgeListen == "":
		return errors.New("FARSCRAPE_EDGE_AUTH=none needs FARSCRAPE_EDGE_LISTEN: a private address that only Prometheus reaches")
	case !slices.Contains([]store.PubSub{store.PubSubAuto, store.PubSubSharded, store.PubSubPlain}, store.PubSub(c.RedisPubSub)):
		return fmt.Errorf("FARSCRAPE_REDIS_PUBSUB=%s: must be auto, sharded or plain", c.RedisPubSub)
	case c.RevokedUnknown != "allow" && c.RevokedUnknown != "refuse":
		return fmt.Errorf("FARSCRAPE_REVOKED_UNKNOWN=%s: must be allow or refuse", c.RevokedUnknown)
	case c.BusSeal != "auto" && c.BusSeal != "always":
		return fmt.Errorf("FARSCRAPE_BUS_SEAL=%s: must be auto or always", c.BusSeal)
	case c.RedisURL != "" && c.RedisURLFile != "":
		return errors.New("FARSCRAPE_REDIS_URL and FARSCRAPE_REDIS_URL_FILE are both set: unset one")
	case !c.hasKey() && c.hasRedis():
		return errors.New("FARSCRAPE_KEY_FILE (or FARSCRAPE_KEY) must be set: replicas that share a Redis share a key. Make one: openssl rand -hex 32")
	}
	if c.hasKey() {
		return nil
	}
	for name, address := range map[string]string{"LISTEN": c.Listen, "EDGE_LISTEN": c.EdgeListen} {
		if address != "" && !loopback(address) {
			return fmt.Errorf("FARSCRAPE_KEY_FILE (or FARSCRAPE_KEY) must be set, since FARSCRAPE_%s=%s is reached from other machines. Make one: openssl rand -hex 32", name, address)
		}
	}
	return nil
}

func (c *config) checkListeners() error {
	switch {
	case c.EdgeWebConfigFile != "" && c.EdgeListen == "":
		return errors.New("FARSCRAPE_EDGE_WEB_CONFIG_FILE needs FARSCRAPE_EDGE_LISTEN: without it Prometheus comes by LISTEN, which has FARSCRAPE_WEB_CONFIG_FILE")
	case c.OpsWebConfigFile != "" && c.OpsListen == "":
		return errors.New("FARSCRAPE_OPS_WEB_CONFIG_FILE needs FARSCRAPE_OPS_LISTEN: without it /metrics is served with the Prometheus side")
	case c.ProxyProtocol && len(c.TrustedProxies) == 0:
		return errors.New("FARSCRAPE_PROXY_PROTOCOL=true needs FARSCRAPE_TRUSTED_PROXIES: the networks of the load balancers whose word counts, such as 10.0.0.0/8")
	}
	return nil
}

func (c *config) checkNumbers() error {
	for name, n := range map[string]int64{
		"SCRAPE_TIMEOUT": int64(c.ScrapeTimeout), "SCRAPE_MAX_TIMEOUT": int64(c.ScrapeMaxTimeout), "MAX_BODY": int64(c.MaxBody),
		"MAX_LINKS": int64(c.MaxLinks), "MAX_INFLIGHT_TARGET": int64(c.MaxInflightTarget), "MAX_INFLIGHT_AGENT": int64(c.MaxInflightAgent),
		"TENANT_MAX_AGENTS": int64(c.TenantMaxAgents), "TENANT_MAX_TARGETS": int64(c.TenantMaxTargets), "TENANT_MAX_BYTES": int64(c.TenantMaxBytes),
		"LINK_MAX_AGE": int64(c.LinkMaxAge), "SD_KEEP": int64(c.SDKeep),
	} {
		if n <= 0 {
			return fmt.Errorf("FARSCRAPE_%s must be more than 0", name)
		}
	}
	for name, n := range map[string][2]int64{
		"AGENT_MAX_TARGETS": {int64(c.AgentMaxTargets), wire.MaxTargets},
		"AGENT_MAX_LABELS":  {int64(c.AgentMaxLabels), wire.MaxLabels},
		"AGENT_MAX_BYTES":   {int64(c.AgentMaxBytes), wire.MaxTargetsBytes},
	} {
		if n[0] <= 0 || n[0] > n[1] {
			return fmt.Errorf("FARSCRAPE_%s=%d: must be 1 to %d, the protocol's own limit", name, n[0], n[1])
		}
	}
	if c.SDGrace < 0 {
		return fmt.Errorf("FARSCRAPE_SD_GRACE=%s: must not be negative", c.SDGrace)
	}
	if c.DrainTimeout < 2*time.Second {
		return fmt.Errorf("FARSCRAPE_DRAIN_TIMEOUT=%s: must be 2s or more", c.DrainTimeout)
	}
	return nil
}

func (c *config) tenantLimits() store.TenantLimits {
	return store.TenantLimits{Agents: c.TenantMaxAgents, Targets: c.TenantMaxTargets, Bytes: int(c.TenantMaxBytes)}
}

func (c *config) checkURL() error {
	_, err := c.publicURL()
	return err
}

func (c *config) hasKey() bool   { return c.Key != "" || c.KeyFile != "" }
func (c *config) hasRedis() bool { return c.RedisURL != "" || c.RedisURLFile != "" }

// redisSetting is the variable that Redis's URL comes by.
func (c *config) redisSetting() string {
	if c.RedisURLFile != "" {
		return "FARSCRAPE_REDIS_URL_FILE"
	}
	return "FARSCRAPE_REDIS_URL"
}

// publicURL is nil if none is set. Its errors do not quote the URL, which may hold
// a password that somebody took to belong there.
func (c *config) publicURL() (*url.URL, error) {
	if c.PublicURL == "" {
		return nil, nil
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, errors.New("FARSCRAPE_PUBLIC_URL: must be like https://relay.example.com")
	case u.User != nil:
		return nil, errors.New("FARSCRAPE_PUBLIC_URL: must hold no user name and no password: discovery prints it for everybody")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("FARSCRAPE_PUBLIC_URL: must have no ? and no #")
	}
	return u, nil
}

// redisTLS is nil if no file is set: the URL's scheme then says whether TLS is
// used, with the system's certificates.
func (c *config) redisTLS() (*tls.Config, error) {
	if c.RedisCA == "" && c.RedisCert == "" && c.RedisKey == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.RedisCA != "" {
		pem, err := os.ReadFile(c.RedisCA)
		if err != nil {
			return nil, fmt.Errorf("FARSCRAPE_REDIS_TLS_CA_FILE: %w", err)
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("FARSCRAPE_REDIS_TLS_CA_FILE: %s holds no PEM certificate", c.RedisCA)
		}
	}
	if (c.RedisCert == "") != (c.RedisKey == "") {
		return nil, errors.New("FARSCRAPE_REDIS_TLS_CERT_FILE and _KEY_FILE: set both or none")
	}
	if c.RedisCert != "" {
		if _, err := tls.LoadX509KeyPair(c.RedisCert, c.RedisKey); err != nil {
			return nil, fmt.Errorf("FARSCRAPE_REDIS_TLS_CERT_FILE and _KEY_FILE: %w", err)
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.RedisCert, c.RedisKey) // as it is now: it may have been renewed
			return &pair, err
		}
	}
	return conf, nil
}

// loopback reports whether only this machine reaches a listen address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
