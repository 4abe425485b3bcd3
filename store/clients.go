package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// URLForms describes the forms of a Redis URL, for help texts.
const URLForms = `one server:  redis://[user:password@]host:6379[/db]
Sentinel:    redis://sentinel1:26379[/db]?master_name=NAME[&addr=sentinel2:26379 …][&username=U][&password=P]
             (user:password@ before the host is for the Sentinels, the parameters for the servers)
Cluster:     redis://[user:password@]host1:6379?addr=host2:6379[&addr=host3:6379 …]
             (a Cluster behind one name: the same address twice)
Unix socket: unix://[user:password@]/path/to/socket[?db=0]
rediss:// is the same with TLS. Special characters of a password must be percent-encoded.`

// Time-outs towards Redis. A URL's own parameters do not change them.
const (
	dialTimeout = 2 * time.Second
	// commandTimeout bounds the directory's commands; a look-up has its
	// scrape's deadline besides.
	commandTimeout = 2 * time.Second
	// publishTimeout is short, because what is queued meanwhile is late.
	publishTimeout = time.Second
)

// clients are the connections to Redis: the bus has its own, since its
// pipelines must never be repeated and never wait behind a listing. The inbox
// subscribes with it.
type clients struct {
	directory redis.UniversalClient
	bus       redis.UniversalClient
	cluster   *redis.ClusterClient // the bus's client, if it is a Cluster
}

func (c *clients) all() []redis.UniversalClient {
	return []redis.UniversalClient{c.directory, c.bus}
}

// A use is what a client is for.
type use struct {
	timeout time.Duration // to write, and to read
	retries int
}

var (
	// The directory's scripts may run twice; a retry saves them a connection
	// that broke while it was idle.
	directoryUse = use{commandTimeout, 1}
	// go-redis sends a pipeline whose reply is late once more, so with retries
	// what is published would be published twice.
	busUse = use{publishTimeout, -1}
)

// newClients does not connect. Its errors do not quote the URL, which may hold
// a password.
func newClients(rawURL string, config *tls.Config) (*clients, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("the Redis URL is not a URL; special characters of a password must be percent-encoded")
	}
	switch u.Scheme {
	case "redis", "unix":
		if config != nil {
			return nil, errors.New("there are TLS settings, but the Redis URL does not begin with rediss://")
		}
	case "rediss":
	default:
		return nil, errors.New("the Redis URL must begin with redis://, rediss:// or unix://")
	}

	open := newServer
	switch query := u.Query(); {
	case strings.Contains(strings.Join(query["addr"], ""), "@"): // which errors and the log would show
		return nil, errors.New("the Redis URL: addr= takes host:port alone, without a user and a password")
	case u.Scheme == "unix":
	case query.Has("master_name"):
		open = newSentinel
	case query.Has("addr"):
		if strings.Trim(u.Path, "/0") != "" {
			return nil, errors.New("the Redis URL names a database, and a Cluster has none")
		}
		open = newCluster
	}
	c := new(clients) // what fails does so by the URL, and so the first time
	if c.directory, err = open(rawURL, config, directoryUse); err != nil {
		return nil, err
	}
	if c.bus, err = open(rawURL, config, busUse); err != nil {
		return nil, err
	}
	c.cluster, _ = c.bus.(*redis.ClusterClient)
	return c, nil
}

// reload has go-redis look for the nodes of a Cluster anew, in the background.
// It is to be called after every error: left to itself it goes on for long
// dialling a node that is dead.
func (c *clients) reload(ctx context.Context) {
	for _, client := range c.all() {
		if cluster, ok := client.(*redis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
	}
}

func (c *clients) close() {
	for _, client := range c.all() {
		_ = client.Close()
	}
}

func newServer(rawURL string, config *tls.Config, u use) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(rawURL)
	if err != nil {
		return nil, urlError(err)
	}
	if o.TLSConfig != nil && config != nil {
		host := o.TLSConfig.ServerName
		o.TLSConfig = config.Clone()
		if o.TLSConfig.ServerName == "" {
			o.TLSConfig.ServerName = host
		}
	}
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = u.timeout, u.timeout, true
	o.MaxRetries = u.retries
	o.MaintNotificationsConfig = noMaintNotifications()
	return redis.NewClient(o), nil
}

func newSentinel(rawURL string, config *tls.Config, u use) (redis.UniversalClient, error) {
	o, err := redis.ParseFailoverURL(rawURL)
	if err != nil {
		return nil, urlError(err)
	}
	o.TLSConfig = anyHost(o.TLSConfig, config)
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = u.timeout, u.timeout, true
	o.MaxRetries = u.retries
	return redis.NewFailoverClient(o), nil
}

func newCluster(rawURL string, config *tls.Config, u use) (redis.UniversalClient, error) {
	o, err := redis.ParseClusterURL(rawURL)
	if err != nil {
		return nil, urlError(err)
	}
	o.TLSConfig = anyHost(o.TLSConfig, config)
	o.DialTimeout, o.DialerRetries = dialTimeout, 1
	o.ReadTimeout, o.WriteTimeout, o.ContextTimeoutEnabled = u.timeout, u.timeout, true
	o.MaintNotificationsConfig = noMaintNotifications()
	return redis.NewClusterClient(o), nil
}

// anyHost is the TLS configuration where there are several servers: a name that
// it does not fix is that of the server dialled.
func anyHost(parsed, config *tls.Config) *tls.Config {
	switch {
	case parsed == nil:
		return nil
	case config != nil:
		return config.Clone()
	}
	parsed.ServerName = ""
	return parsed
}

// noMaintNotifications turns off a handshake that only one vendor's servers
// know.
func noMaintNotifications() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// urlError passes on what go-redis says of a URL only where it cannot hold a
// part of the password.
func urlError(err error) error {
	if strings.HasPrefix(err.Error(), "redis: unexpected option") {
		return fmt.Errorf("the Redis URL: %w", err)
	}
	return errors.New("the Redis URL is of none of the known forms; special characters of a password must be percent-encoded")
}

// overTLS reports whether a Redis URL asks for TLS.
func overTLS(url string) bool { return strings.HasPrefix(url, "rediss:") }

// addressOf is where a Redis URL leads, without what must not be told of it: hosts
// and ports, several with commas between them, or a socket.
func addressOf(rawURL string) string {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil:
		return ""
	case u.Scheme == "unix":
		return u.Path
	}
	all := append(u.Query()["addr"], u.Host)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ",")
}

// SetDriverLogger sends what go-redis itself logs to logger, at debug level:
// the store logs what matters. go-redis has one logger a process, so this is
// for main to call.
func SetDriverLogger(logger *slog.Logger) { redis.SetLogger(driverLogger{logger}) }

type driverLogger struct{ *slog.Logger }

func (l driverLogger) Printf(ctx context.Context, format string, args ...any) {
	l.DebugContext(ctx, fmt.Sprintf(format, args...), "from", "go-redis")
}
