package certificate

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Lists holds the revocation lists in force, which may be exchanged at any time. A nil
// one holds none.
type Lists struct{ now atomic.Pointer[Set] }

// Set exchanges them.
func (l *Lists) Set(s *Set) { l.now.Store(s) }

// Now are those in force; nil: none.
func (l *Lists) Now() *Set {
	if l == nil {
		return nil
	}
	return l.now.Load()
}

// A Set is what revocation lists say. It does not change, but that it learns by whose
// key each of them was signed. A nil one says nothing.
type Set struct {
	byIssuer map[string][]*list // by the DER of the issuer's name
	len      int
	next     time.Time
}

// A list is one of a CA's.
type list struct {
	signed  *x509.RevocationList // its signature, and what that is of
	serials map[string]struct{}  // big-endian
	issuer  string               // for people
	keyID   []byte               // of the key that has signed it; nil: it does not say

	mu      sync.Mutex
	signers map[[sha256.Size]byte]bool // by the hash of a CA's certificate: whether it has signed the list
}

// maxSigners bounds the CAs that a list remembers. Of one name there are two, while the
// CA's key changes; who is a CA could make more.
const maxSigners = 16

// Len is how many certificates are listed.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return s.len
}

// NextUpdate is when the first of the lists should have been replaced; the zero time if
// none says so. What they list stays refused.
func (s *Set) NextUpdate() time.Time {
	if s == nil {
		return time.Time{}
	}
	return s.next
}

// Listed reports whether a certificate of a chain is on a list that the CA has signed by
// which it stands there. The chain's own comes first.
func (s *Set) Listed(chain []*x509.Certificate) bool {
	if s == nil {
		return false
	}
	for i, c := range chain {
		ca := c // the last stands there by itself, or by nobody who is known
		if i+1 < len(chain) {
			ca = chain[i+1]
		}
		for _, l := range s.byIssuer[string(c.RawIssuer)] {
			if _, listed := l.serials[string(c.SerialNumber.Bytes())]; listed && l.signedBy(ca) {
				return true
			}
		}
	}
	return false
}

// CheckSigners reports a list that says it is of one of these CAs, which has not signed it:
// it would take back nothing.
func (s *Set) CheckSigners(cas []*x509.Certificate) error {
	for issuer, lists := range s.byIssuer {
		for _, l := range lists {
			of, signed := false, false
			for _, ca := range cas {
				if string(ca.RawSubject) == issuer && (l.keyID == nil || ca.SubjectKeyId == nil || bytes.Equal(l.keyID, ca.SubjectKeyId)) {
					of, signed = true, signed || l.signedBy(ca)
				}
			}
			if of && !signed {
				return fmt.Errorf("the list of %.100q is not signed by that CA, or its certificate does not allow it to sign any", l.issuer)
			}
		}
	}
	return nil
}

// signedBy reports whether a CA has signed the list.
func (l *list) signedBy(ca *x509.Certificate) bool {
	sum := sha256.Sum256(ca.Raw)
	l.mu.Lock()
	defer l.mu.Unlock()
	signed, known := l.signers[sum]
	if !known {
		if len(l.signers) >= maxSigners {
			clear(l.signers)
		}
		// Whatever its key usage says: CAs that may not sign lists by that sign some.
		signed = ca.CheckSignature(l.signed.SignatureAlgorithm, l.signed.RawTBSRevocationList, l.signed.Signature) == nil
		l.signers[sum] = signed
	}
	return signed
}
