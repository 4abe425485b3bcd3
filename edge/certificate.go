package edge

import (
	"errors"
	"net/http"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/token"
	"github.com/farscrape/farscrape/relay/wire"
)

// byCertificate is who asks by the certificate of the connection, which may scrape all
// agents of its tenant. It is judged with each request: connections live on.
func (e *Edge) byCertificate(r *http.Request) (caller, *wire.Error) {
	now := time.Now()
	shown, err := e.Certificates.Scraper(r.TLS, now)
	if err == nil {
		err = e.Revoked.Now().Check(shown.Claims, shown.Name)
	}
	who := caller{shown: credential{tenant: shown.Tenant, name: shown.Name, id: shown.ID, key: shown.Key, checked: shown.ID != "", cause: token.CauseOf(err)}}
	switch {
	case certificate.AnotherWouldDo(err):
		return who, wire.Errorf(wire.Unauthorized, "%v: %s", err, e.mendCertificate(err))
	case errors.Is(err, token.ErrRevokedUnknown):
		return who, e.refusal(r, shown.Claims, err)
	case errors.Is(err, token.ErrRevoked):
		return who, wire.Errorf(wire.Unauthorized, "the client certificate has been taken back: %s", certificate.Mend)
	case err != nil:
		return who, wire.Errorf(wire.Forbidden, "%v", err)
	}
	e.scrapers.note(token.Claims{Tenant: shown.Tenant, Name: shown.Name, ID: shown.ID, Expires: shown.ToldExpiry()}, now)
	who.tenant = shown.Tenant
	return who, nil
}

// alsoByCertificate says why the connection's certificate is not good beside a token,
// whose rights hold.
func (e *Edge) alsoByCertificate(r *http.Request, by caller) (token.Cause, *wire.Error) {
	who, failure := e.byCertificate(r)
	other := token.CauseOf(token.ErrName)
	switch {
	case failure != nil:
		return who.shown.cause, failure
	case who.tenant != by.tenant:
		return other, wire.Errorf(wire.Forbidden, "the token is of another tenant than the client certificate")
	case who.shown.name != by.shown.name:
		return other, wire.Errorf(wire.Forbidden, "the token is for %q, and the client certificate for %q: mint one for that name", by.shown.name, who.shown.name)
	}
	return token.None, nil
}

// mendCertificate is what to do without a good one.
func (e *Edge) mendCertificate(err error) string {
	if !errors.Is(err, certificate.ErrMissing) {
		return certificate.Mend
	}
	mend := "set cert_file and key_file in Prometheus's tls_config to one of the relay's client CA, and let no front end TLS"
	if e.Auth == certificate.Either {
		mend = "show a token (" + mintScrapers + "), or " + mend
	}
	return mend
}
