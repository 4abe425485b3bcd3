package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/farscrape/farscrape/relay/wire"
)

// dialWithin bounds a dial up to the end of its upgrade.
const dialWithin = 15 * time.Second

// dial opens a WebSocket to a replica that is none of held, if it can be had.
// An error of type *upgradeError is a replica's own word.
func (a *Agent) dial(ctx context.Context, held []wire.ReplicaID) (*websocket.Conn, *socket, error) {
	ctx, cancel := context.WithTimeout(ctx, dialWithin)
	defer cancel()
	token, err := a.credential.current()
	if err != nil {
		return nil, nil, err
	}
	header, err := a.dialHeader(token, held)
	if err != nil {
		return nil, nil, err
	}
	tlsConfig, err := a.relayTLS()
	if err != nil {
		return nil, nil, err
	}
	var sock *socket
	var proxy *url.URL
	transport := &http.Transport{
		Proxy: func(r *http.Request) (_ *url.URL, err error) {
			proxy, err = relayProxy(a.proxy, r)
			return proxy, err
		},
		OnProxyConnectResponse: func(_ context.Context, _ *url.URL, _ *http.Request, r *http.Response) error {
			if r.StatusCode != http.StatusOK {
				return &proxyError{r.Status}
			}
			return nil
		},
		DisableKeepAlives:   true,      // one upgrade each; what a refusal leaves is not used again
		TLSClientConfig:     tlsConfig, // and so HTTP/1.1, which an upgrade needs
		TLSHandshakeTimeout: dialWithin,
		// Under the dial's own ctx: the one the transport gives outlives it.
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			conn, err := a.dialRelay(ctx, network, address)
			if err != nil {
				return nil, err
			}
			sock = newSocket(conn)
			return sock, nil
		},
	}
	conn, resp, err := websocket.Dial(ctx, a.connectURL.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader:   header,
		Subprotocols: []string{wire.Subprotocol},
	})
	switch {
	case err != nil && resp != nil:
		if resp.StatusCode == http.StatusUnauthorized {
			a.credential.refuse(token)
		}
		return nil, nil, upgradeErrorOf(resp, a.connectURL, proxy)
	case err != nil:
		return nil, nil, &dialError{a.connectURL.Host, proxy, cause(err)}
	case conn.Subprotocol() != wire.Subprotocol:
		conn.CloseNow()
		return nil, nil, fmt.Errorf("dial %s: a WebSocket, but not a Farscrape relay of this version: it does not speak %s: check FARSCRAPE_RELAY_URL", a.connectURL.Host, wire.Subprotocol)
	}
	return conn, sock, nil
}

// relayProxy is the proxy for the relay; by is nil if there is none.
func relayProxy(by func(*http.Request) (*url.URL, error), r *http.Request) (*url.URL, error) {
	if by == nil {
		return nil, nil
	}
	u, err := by(r)
	if err != nil { // it would quote the proxy's password
		return nil, errors.New("the proxy in the environment (HTTPS_PROXY, HTTP_PROXY) is no URL")
	}
	return u, nil
}

// dialHeader is the upgrade's header, from the files as they are now.
func (a *Agent) dialHeader(token string, held []wire.ReplicaID) (http.Header, error) {
	extra, err := a.config.headers()
	if err != nil {
		return nil, err
	}
	header := make(http.Header)
	for _, f := range extra {
		header.Add(f.Name, f.Value)
	}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	header.Set("User-Agent", "farscrape-agent/"+a.version)
	header.Set(wire.HeaderAgent, a.name)
	if len(held) > 0 {
		ids := make([]string, len(held))
		for i, id := range held {
			ids[i] = string(id)
		}
		header.Set(wire.HeaderHeld, strings.Join(ids, ","))
	}
	return header, nil
}
