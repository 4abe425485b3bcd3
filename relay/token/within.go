package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

const (
	// jsonStart is how each token begins: {" in base64.
	jsonStart = "eyJ"
	// maxHeader bounds a token's header, in bytes of base64. Ours has 62.
	maxHeader = 128
	// signature is the length of an HMAC-SHA-256 in base64 without padding.
	signature = 43
	// minEncoded is less than any token has in base64 once more, in bytes: a run
	// that is shorter is not decoded.
	minEncoded = 160
)

// Within reports whether text holds a token of ours, of any role and whether or
// not its time is up: as it stands, or in base64 with whatever is around it, as
// Basic has it. It costs next to nothing where nothing looks like one.
func (k *Keyring) Within(text string, now time.Time) bool {
	if k.plainlyWithin(text, now) {
		return true
	}
	for run, rest := cutRun(text); run != ""; run, rest = cutRun(rest) {
		if decoded, ok := decode(run); ok && k.plainlyWithin(decoded, now) {
			return true
		}
	}
	return false
}

// Within is the current Keyring's Within.
func (k *Keys) Within(text string, now time.Time) bool { return k.Current().Within(text, now) }

func (k *Keyring) plainlyWithin(text string, now time.Time) bool {
	for {
		start := strings.Index(text, jsonStart)
		if start < 0 {
			return false
		}
		text = text[start:]
		if token, ok := cutToken(text); ok {
			if _, err := k.Verify(token, now); err == nil || errors.Is(err, ErrExpired) {
				return true
			}
		}
		text = text[len(jsonStart):]
	}
}

// cutToken is the token that text begins with, if it can be one. What is glued to
// its end is not part of it: signatures have one length. To look at the header
// first keeps a text made of beginnings from costing a check of a signature each.
func cutToken(text string) (token string, ok bool) {
	header := spanOf(text[:min(len(text), maxHeader+1)], urlAlphabet)
	if header == len(text) || text[header] != '.' {
		return "", false
	}
	claims := spanOf(text[header+1:min(len(text), maxSize)], urlAlphabet)
	end := header + 1 + claims + 1 + signature
	if end > len(text) || text[header+1+claims] != '.' || spanOf(text[end-signature:end], urlAlphabet) < signature {
		return "", false
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text[:header])
	return text[:end], err == nil && json.Valid(decoded)
}

// cutRun is the next run of text that may be a token in base64, without its
// padding, and what follows it; empty if there is none.
func cutRun(text string) (run, rest string) {
	for len(text) >= minEncoded {
		n := spanOf(text, anyAlphabet)
		if n >= minEncoded {
			return text[:n], text[n:]
		}
		text = text[min(n+1, len(text)):]
	}
	return "", ""
}

// decode reads base64 of either alphabet.
func decode(run string) (text string, ok bool) {
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(run, "-_") {
		encoding = base64.RawURLEncoding
	}
	b, err := encoding.DecodeString(run)
	return string(b), err == nil
}

// spanOf is how many bytes text begins with that alphabet takes.
func spanOf(text string, alphabet func(byte) bool) int {
	for i := range len(text) {
		if !alphabet(text[i]) {
			return i
		}
	}
	return len(text)
}

func urlAlphabet(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func anyAlphabet(c byte) bool { return urlAlphabet(c) || c == '+' || c == '/' }
