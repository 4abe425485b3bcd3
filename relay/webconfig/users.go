package webconfig

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Handler returns h for those whom the file lets in, with the header fields that it
// has. Health checks are anyone's.
func (w *Web) Handler(h http.Handler) http.Handler {
	if w == nil {
		return h
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		now := w.now.Load()
		for name, value := range now.header {
			rw.Header().Set(name, value)
		}
		if len(now.users) > 0 && r.URL.Path != "/-/healthy" && r.URL.Path != "/-/ready" {
			switch w.guard.judge(now.users, r) {
			case wrong:
				rw.Header().Set("WWW-Authenticate", `Basic realm="farscrape"`)
				http.Error(rw, "a user of basic_auth_users must be shown", http.StatusUnauthorized)
				return
			case crowded:
				rw.Header().Set("Retry-After", "1")
				http.Error(rw, "too many passwords are being compared", http.StatusServiceUnavailable)
				return
			}
		}
		h.ServeHTTP(rw, r)
	})
}

// mostComparing is how many requests may wait for their passwords to be compared, one
// after the other: at bcrypt's cost 10 each takes 50 ms of one processor.
const mostComparing = 16

// A guard compares passwords. A good one is compared once, for it comes with every
// scrape; whoever guesses takes one processor at the most, and keeps nobody out whose
// password is known to be good.
type guard struct {
	places    chan struct{}
	comparing sync.Mutex // held while a password is compared
	salt      [32]byte

	mu   sync.Mutex                   // guards what follows
	good map[string][sha256.Size]byte // by user, of those in the file
}

// judge's verdicts on a password.
type verdict uint8

const (
	right verdict = iota
	wrong
	crowded // not compared
)

func (g *guard) open() {
	g.places, g.good = make(chan struct{}, mostComparing), make(map[string][sha256.Size]byte)
	_, _ = rand.Read(g.salt[:])
}

// nobody stands for a user that there is not, so that the time does not tell: the hash
// of a password that nobody knows, at cost 10.
const nobody = "$2a$10$q44uaH3SDDqXsgZKjyRHlO6qit9xGIXz0BOGol1kOzeocc.5n/bkG"

func (g *guard) judge(users map[string]string, r *http.Request) verdict {
	user, password, given := r.BasicAuth()
	if !given {
		return wrong
	}
	hash, known := users[user]
	if !known {
		hash = nobody
	}
	sum := g.sum(hash, password)
	if known && g.knows(user, sum) {
		return right
	}
	select {
	case g.places <- struct{}{}:
		defer func() { <-g.places }()
	default:
		return crowded
	}
	g.comparing.Lock()
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	g.comparing.Unlock()
	if !known || err != nil {
		return wrong
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.good[user] = sum
	return right
}

func (g *guard) knows(user string, sum [sha256.Size]byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	good, ok := g.good[user]
	return ok && subtle.ConstantTimeCompare(good[:], sum[:]) == 1
}

// sum stands for a password that was good for a hash, in memory only.
func (g *guard) sum(hash, password string) [sha256.Size]byte {
	return sha256.Sum256([]byte(string(g.salt[:]) + hash + "\x00" + password))
}
