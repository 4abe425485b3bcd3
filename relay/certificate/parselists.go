package certificate

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
)

// maxLists bounds the text of all lists, in bytes: some 100,000 entries, which take
// twenty times that while they are read. A CA with more of them splits its lists.
const maxLists = 4 << 20

// Extensions of lists (RFC 5280, 5.2), and a reason of their entries (5.3.1).
var (
	deltaIndicator    = asn1.ObjectIdentifier{2, 5, 29, 27}
	distributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28} // of a part of a list: what that names is revoked
)

const removedFromList = 8 // not revoked any more

// ParseLists reads revocation lists: one in DER, or any number in PEM. Each must be
// whole, and of one CA.
func ParseLists(content []byte) (*Set, error) {
	if len(content) > maxLists {
		return nil, fmt.Errorf("has %d bytes: at most %d MiB", len(content), maxLists>>20)
	}
	s := &Set{byIssuer: make(map[string][]*list)}
	if !bytes.Contains(content, beginning) {
		if err := s.add(content); err != nil {
			return nil, fmt.Errorf("its list %w", err)
		}
		return s, nil
	}
	for n, begun := 1, bytes.Count(content, beginning); n <= begun; n++ {
		block, rest := pem.Decode(content)
		switch {
		case block == nil, begun-n != bytes.Count(rest, beginning): // it passes over what is damaged
			return nil, fmt.Errorf("block %d is cut short or damaged", n)
		case block.Type != "X509 CRL":
			return nil, fmt.Errorf("block %d is no X509 CRL: revocation lists alone may stand there", n)
		}
		if err := s.add(block.Bytes); err != nil {
			return nil, fmt.Errorf("list %d %w", n, err)
		}
		content = rest
	}
	return s, nil
}

// beginning is how each block of PEM begins.
var beginning = []byte("-----BEGIN ")

// add takes the list in der.
func (s *Set) add(der []byte) error {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return errors.New("is no revocation list in DER or PEM")
	}
	for _, e := range parsed.Extensions {
		switch {
		case e.Id.Equal(deltaIndicator):
			return errors.New("says only what has changed since another: whole lists are needed")
		case e.Critical && !e.Id.Equal(distributionPoint):
			return fmt.Errorf("has a critical extension, %s, that is not known here", e.Id)
		}
	}
	l := &list{serials: make(map[string]struct{}, len(parsed.RevokedCertificateEntries)), signers: make(map[[sha256.Size]byte]bool)}
	for _, e := range parsed.RevokedCertificateEntries {
		if slices.ContainsFunc(e.Extensions, func(x pkix.Extension) bool { return x.Critical }) {
			return errors.New("has entries with a critical extension, as those of several CAs have: lists of one CA each are needed")
		}
		if e.ReasonCode != removedFromList {
			l.serials[string(e.SerialNumber.Bytes())] = struct{}{}
		}
	}
	s.len += len(l.serials)
	if next := parsed.NextUpdate; !next.IsZero() && (s.next.IsZero() || next.Before(s.next)) {
		s.next = next
	}
	l.issuer, l.keyID = parsed.Issuer.String(), parsed.AuthorityKeyId
	l.signed = &x509.RevocationList{RawTBSRevocationList: parsed.RawTBSRevocationList, SignatureAlgorithm: parsed.SignatureAlgorithm, Signature: parsed.Signature}
	s.byIssuer[string(parsed.RawIssuer)] = append(s.byIssuer[string(parsed.RawIssuer)], l)
	return nil
}
