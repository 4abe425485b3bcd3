package token

import (
	"crypto/sha256"
	"sync"
)

// cacheSize is how many tokens are remembered: those of more Prometheus servers
// than share one relay, in some 300 KiB.
const cacheSize = 1024

// A cache remembers tokens whose signature was good, so that a Prometheus that
// shows the same one with each scrape costs one hash. It is looked up by that
// hash, which says nothing of a token to someone who measures the time it takes.
type cache struct {
	mu     sync.RWMutex
	claims map[[sha256.Size]byte]Claims // guarded by mu
}

func newCache() *cache {
	return &cache{claims: make(map[[sha256.Size]byte]Claims)}
}

func sum(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

func (c *cache) get(sum [sha256.Size]byte) (Claims, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	claims, ok := c.claims[sum]
	return claims, ok
}

func (c *cache) put(sum [sha256.Size]byte, claims Claims) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for other := range c.claims {
		if len(c.claims) < cacheSize {
			break
		}
		delete(c.claims, other) // any: one that is in use comes back with its next scrape
	}
	c.claims[sum] = claims
}
