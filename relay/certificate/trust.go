package certificate

import "crypto/x509"

// CAs are those of a listener that stand for clients.
type CAs interface {
	Have(ca *x509.Certificate) bool
}

// A Trust is what certificates are held against at one time. Two are equal if nothing has
// changed between them. The zero value holds nothing against any.
type Trust struct {
	lists *Set
	cas   CAs // nil: those that TLS has asked, and no other since
}

// Trust is what holds now.
func (c *Checker) Trust() Trust {
	t := Trust{lists: c.Lists.Now()}
	if c.CAs != nil {
		t.cas = c.CAs()
	}
	return t
}

// check says why a chain is good no more: it is nil, ErrListed or ErrOrphaned.
func (t Trust) check(chain []*x509.Certificate) error {
	switch {
	case t.lists.Listed(chain):
		return ErrListed
	case t.cas != nil && !t.cas.Have(chain[len(chain)-1]):
		return ErrOrphaned
	}
	return nil
}

// best is the chain that is good for longest, of those that are good, if any is. A CA and
// its successor may both stand for a certificate.
func (t Trust) best(chains [][]*x509.Certificate) (best []*x509.Certificate) {
	var good bool
	for _, chain := range chains {
		is := t.check(chain) == nil
		if best == nil || is && !good || is == good && ends(chain).After(ends(best)) {
			best, good = chain, is
		}
	}
	return best
}
