package agent

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/farscrape/farscrape/relay/wire"
)

// subprotocol is the one that a relay of any version says it speaks.
var subprotocol = regexp.MustCompile(`farscrape\.v[0-9]+`)

// mendUpgrade is what a person can do about an answer that is no upgrade. Of a
// refusal's text it reads only what one status has several causes for.
func (c *Config) mendUpgrade(e *upgradeError) string {
	says := func(text string) bool { return strings.Contains(e.text, text) }
	spoken := subprotocol.FindString(e.text)
	switch {
	case e.status == http.StatusNotFound: // a relay's edge gives a reason
		return "no relay takes agents at that URL: check FARSCRAPE_RELAY_URL's host, port and path prefix, where the relay's FARSCRAPE_LISTEN is reached, not its FARSCRAPE_EDGE_LISTEN"
	case e.reason == "":
		return c.mendFront(e)
	case e.status == http.StatusUpgradeRequired && spoken != "" && spoken != wire.Subprotocol:
		return "the relay speaks another version: update the older side"
	case e.status == http.StatusUpgradeRequired, says("WebSocket protocol"): // the relay's library misses a header field
		return "the load balancer strips Upgrade or speaks HTTP/1.0: let it pass WebSockets (deploy/fronts)"
	}
	switch {
	case says("client certificate"):
		return c.mendCertificate(e)
	case says("no token") && c.TLSCertFile != "":
		return "the relay takes no certificates instead of tokens: set FARSCRAPE_TOKEN_FILE, or its FARSCRAPE_AGENT_AUTH"
	}
	switch e.status {
	case http.StatusBadRequest:
		return "the relay does not take this agent's name: set FARSCRAPE_NAME to a DNS name"
	case http.StatusUnauthorized:
		mend := "set " + c.tokenSetting() + " to a new token, from farscrape-relay token -agent NAME with the relay's first key"
		if says("signed with another key") {
			mend += ", or the relay's key was replaced: put the old one back, below the new"
		}
		return mend
	case http.StatusForbidden:
		if says("is the relay's own name") {
			return "the name is the relay's own: set FARSCRAPE_NAME to another"
		}
		return "the token does not allow this agent's name: set FARSCRAPE_NAME to one that it does, or " + c.tokenSetting() + " to a token for this name"
	case http.StatusServiceUnavailable:
		return "the replica drains or is overloaded: this agent comes back by itself"
	}
	return "this agent tries again"
}

// mendFront is for an answer that no relay gave.
func (c *Config) mendFront(e *upgradeError) string {
	unreached := e.status >= http.StatusBadGateway && e.status <= http.StatusGatewayTimeout
	switch {
	case e.elsewhere != "":
		return "it redirects to " + e.elsewhere + ": set FARSCRAPE_RELAY_URL to that, if it is the relay"
	case e.status == http.StatusBadRequest && !c.overTLS():
		return "that is no relay's answer: if the port takes TLS, FARSCRAPE_RELAY_URL must start with https://"
	case e.status == http.StatusProxyAuthRequired:
		return mendProxyPassword(e.proxy, "HTTP_PROXY")
	case unreached && e.proxy != nil:
		return "the proxy " + e.proxy.Host + " of HTTP_PROXY, or a front behind it, reaches no relay: do relays run, are they ready?"
	case e.proxy != nil:
		return "it went by the proxy " + e.proxy.Host + " of HTTP_PROXY: allow it there, WebSockets too, or list the relay's host in NO_PROXY"
	case unreached:
		return "the front reaches no relay: do relays run, are they ready?"
	case e.status < 400:
		return "something answers there that is no relay, or does not pass WebSockets on: check FARSCRAPE_RELAY_URL and the load balancer"
	case e.status == http.StatusBadRequest && c.TLSCertFile == "":
		return "something in front of the relay refuses: if it wants a client certificate, set FARSCRAPE_TLS_CERT_FILE and FARSCRAPE_TLS_KEY_FILE"
	}
	return "something in front of the relay refuses: does it pass WebSockets on? Check FARSCRAPE_RELAY_URL"
}
