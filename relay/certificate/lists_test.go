package certificate_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/farscrape/farscrape/relay/certificate"
	"github.com/farscrape/farscrape/relay/certtest"
)

func lists(t testing.TB, content ...[]byte) *certificate.Set {
	t.Helper()
	set, err := certificate.ParseLists(bytes.Join(content, []byte("some words\n")))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A list counts for those certificates that its own CA stands for, wherever they stand in
// a chain, and for no others, whatever CAs are called.
func TestWhoIsListed(t *testing.T) {
	root, stranger, namesake := certtest.NewAuthority(t, "root"), certtest.NewAuthority(t, "stranger"), certtest.NewAuthority(t, "root")
	sub := root.Under(t, "sub")
	byRoot, bySub := root.Issue(t, certtest.DNS("edge-1")), sub.Issue(t, certtest.DNS("edge-2"))
	leaf, below := byRoot.Parse(t), bySub.Parse(t)
	for _, c := range []struct {
		what        string
		set         *certificate.Set
		root, below bool // whether what each has issued is listed
	}{
		{"no list", nil, false, false},
		{"an empty one", lists(t, root.Revokes(t)), false, false},
		{"the leaf", lists(t, root.Revokes(t, leaf)), true, false},
		{"in PEM, the second", lists(t, certtest.ListPEM(stranger.Revokes(t)), certtest.ListPEM(root.Revokes(t, leaf))), true, false},
		{"two of one CA", lists(t, certtest.ListPEM(root.Revokes(t)), certtest.ListPEM(root.Revokes(t, leaf))), true, false},
		{"a leaf below", lists(t, sub.Revokes(t, below)), false, true},
		{"the CA between", lists(t, root.Revokes(t, sub.Parsed)), false, true},
		{"both", lists(t, certtest.ListPEM(root.Revokes(t, leaf)), certtest.ListPEM(sub.Revokes(t, below))), true, true},
		{"the same serial, of another CA", lists(t, stranger.Revokes(t, leaf, below, sub.Parsed)), false, false},
		{"the same serial, of a CA of the same name", lists(t, namesake.Revokes(t, leaf, below, sub.Parsed)), false, false},
		{"by the CA above", lists(t, root.Revokes(t, below)), false, false},
	} {
		checker := newChecker(t)
		checker.Lists.Set(c.set)
		for name, of := range map[string]struct {
			p      *certtest.Pair
			listed bool
		}{"edge-1": {byRoot, c.root}, "edge-2": {bySub, c.below}} {
			for range 2 { // the second time it is known who has signed
				if _, err := checker.Agent(shownBy(t, of.p, root), name, time.Now()); errors.Is(err, certificate.ErrListed) != of.listed || err != nil != of.listed {
					t.Errorf("%s: %s: %v", c.what, name, err)
				}
			}
		}
	}
}

// Of two CAs that stand for a certificate one may be taken back.
func TestAListOfACAThatMayNotSignLists(t *testing.T) {
	ca := certtest.WithoutCRLSign(t, "ca")
	p := ca.Issue(t, certtest.DNS("edge-1"))
	set := lists(t, ca.Revokes(t, p.Parse(t)))
	if err := set.CheckSigners([]*x509.Certificate{ca.Parsed}); err != nil {
		t.Error(err)
	}
	checker := newChecker(t)
	checker.Lists.Set(set)
	if _, err := checker.Agent(shownBy(t, p, ca), "edge-1", time.Now()); !errors.Is(err, certificate.ErrListed) {
		t.Errorf("listed by it: %v", err)
	}
}

func TestAChainThatIsNotListedIsEnough(t *testing.T) {
	root := certtest.NewAuthority(t, "root")
	sub := root.Under(t, "sub")
	p := sub.Issue(t, certtest.DNS("edge-1"))
	checker := newChecker(t)
	checker.Lists.Set(lists(t, root.Revokes(t, sub.Parsed)))
	state := shownBy(t, p, root)
	state.VerifiedChains = append(state.VerifiedChains, state.VerifiedChains[0][:2]) // the one between is trusted itself, too
	if _, err := checker.Agent(state, "edge-1", time.Now()); err != nil {
		t.Error(err)
	}
}

// list makes a revocation list that is none of the usual ones.
func list(t *testing.T, change func(*x509.RevocationList)) []byte {
	t.Helper()
	ca := certtest.NewAuthority(t, "ca")
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	change(l)
	der, err := x509.CreateRevocationList(rand.Reader, l, ca.Parsed, ca.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestListsThatAreNotTaken(t *testing.T) {
	ca := certtest.NewAuthority(t, "ca")
	leaf := ca.Issue(t).Parse(t)
	der := ca.Revokes(t, leaf)
	pem := certtest.ListPEM(der)
	critical := func(id ...int) []pkix.Extension {
		return []pkix.Extension{{Id: id, Critical: true, Value: asn1.NullBytes}}
	}
	entry := x509.RevocationListEntry{SerialNumber: big.NewInt(7), RevocationTime: time.Now(), ExtraExtensions: critical(2, 5, 29, 29)}
	for what, c := range map[string]struct {
		content []byte
		want    string
	}{
		"nothing":             {nil, "its list is no revocation list in DER or PEM"},
		"words":               {[]byte("none yet\n"), "its list is no revocation list in DER or PEM"},
		"cut short":           {der[:len(der)-1], "its list is no revocation list"},
		"a certificate":       {ca.Certificate, "block 1 is no X509 CRL"},
		"one behind a list":   {append(bytes.Clone(pem), ca.Certificate...), "block 2 is no X509 CRL"},
		"PEM cut short":       {pem[:len(pem)-10], "block 1 is cut short or damaged"},
		"the second damaged":  {append(bytes.Clone(pem), pem[:40]...), "block 2 is cut short or damaged"},
		"the first damaged":   {append(bytes.Replace(pem, []byte("\nMI"), []byte("\n??"), 1), pem...), "block 1 is cut short or damaged"},
		"PEM of something":    {certtest.ListPEM([]byte("x")), "list 1 is no revocation list"},
		"of changes":          {list(t, func(l *x509.RevocationList) { l.ExtraExtensions = critical(2, 5, 29, 27) }), "its list says only what has changed"},
		"an unknown kind":     {list(t, func(l *x509.RevocationList) { l.ExtraExtensions = critical(1, 2, 3) }), "its list has a critical extension, 1.2.3"},
		"entries of many CAs": {list(t, func(l *x509.RevocationList) { l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, entry) }), "its list has entries with a critical extension"},
		"too long":            {make([]byte, 5<<20), "at most 4 MiB"},
	} {
		if _, err := certificate.ParseLists(c.content); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A list that says it is of a CA, and is not, would take back nothing: that is told. One
// of a CA that is not there, or of another key of its own, may be for somebody.
func TestAListThatItsCAHasNotSigned(t *testing.T) {
	ca, namesake, stranger := certtest.NewAuthority(t, "ca"), certtest.NewAuthority(t, "ca"), certtest.NewAuthority(t, "stranger")
	der := ca.Revokes(t)
	spoilt := bytes.Clone(der)
	spoilt[len(spoilt)-1] ^= 1
	for what, c := range map[string]struct {
		list []byte
		cas  []*x509.Certificate
		bad  bool
	}{
		"signed":            {der, []*x509.Certificate{stranger.Parsed, ca.Parsed}, false},
		"spoilt":            {spoilt, []*x509.Certificate{ca.Parsed}, true},
		"of another":        {der, []*x509.Certificate{stranger.Parsed}, false},
		"of another key":    {der, []*x509.Certificate{namesake.Parsed}, false},
		"one of both keys'": {der, []*x509.Certificate{namesake.Parsed, ca.Parsed}, false},
		"no CA":             {spoilt, nil, false},
	} {
		err := lists(t, c.list).CheckSigners(c.cas)
		if (err != nil) != c.bad || err != nil && !strings.Contains(err.Error(), `the list of "CN=ca" is not signed by that CA`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What a list gives back is good again, and a part of a list is as good as a whole one.
func TestWhatAListMaySay(t *testing.T) {
	next := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
	set := lists(t, certtest.ListPEM(list(t, func(l *x509.RevocationList) {
		l.NextUpdate = next
		l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: asn1.NullBytes}}
		l.RevokedCertificateEntries = []x509.RevocationListEntry{
			{SerialNumber: big.NewInt(7), RevocationTime: time.Now(), ReasonCode: 8}, {SerialNumber: big.NewInt(8), RevocationTime: time.Now(), ReasonCode: 1},
		}
	})), certtest.ListPEM(certtest.NewAuthority(t, "other").Revokes(t)))
	if set.Len() != 1 || !set.NextUpdate().Equal(next) {
		t.Errorf("%d listed, next %s", set.Len(), set.NextUpdate())
	}
	if none := (*certificate.Set)(nil); none.Len() != 0 || !none.NextUpdate().IsZero() {
		t.Error("no lists say something")
	}
}

// Whatever the file holds, it is read or refused, and lists nothing of a CA whose key has
// not signed it.
func FuzzParseLists(f *testing.F) {
	ca := certtest.NewAuthority(f, "ca")
	leaf := ca.Issue(f, certtest.DNS("edge-1"))
	der := ca.Revokes(f, leaf.Parse(f))
	f.Add(der)
	f.Add(certtest.ListPEM(der))
	f.Add(append(certtest.ListPEM(der), ca.Certificate...))
	namesake := certtest.NewAuthority(f, "ca")
	chain := []*x509.Certificate{leaf.Parse(f), namesake.Parsed}
	f.Fuzz(func(t *testing.T, content []byte) {
		set, err := certificate.ParseLists(content)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("it says %d bytes", len(err.Error()))
			}
			return
		}
		if set.Listed(chain) {
			t.Error("a list that the CA has not signed counts")
		}
	})
}
