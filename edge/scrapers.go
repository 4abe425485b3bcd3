package edge

import (
	"maps"
	"sync"
	"time"

	"github.com/farscrape/farscrape/relay/token"
)

const (
	// rememberScraper is how long a scraper's token counts as in use after it was
	// shown: longer than targets are scraped apart.
	rememberScraper = time.Hour
	// maxScrapers bounds the tokens that are remembered, in some 300 KiB. Only who
	// has the key makes more.
	maxScrapers = 1024
	// noteAgain is how much later a token that is shown again is noted.
	noteAgain = time.Minute
)

// scrapers remember which tokens scrapers have shown to this replica, so that
// somebody is told before they end.
type scrapers struct {
	mu   sync.RWMutex
	byID map[string]sighting // by the token's ID; guarded by mu
}

type sighting struct {
	scraper scraperKey
	expires time.Time
	at      time.Time
}

type scraperKey struct{ tenant, name string }

func newScrapers() *scrapers { return &scrapers{byID: make(map[string]sighting)} }

// note notes that a token was shown.
func (s *scrapers) note(c token.Claims, now time.Time) {
	if c.Expires.IsZero() {
		return
	}
	s.mu.RLock()
	known := now.Sub(s.byID[c.ID].at) < noteAgain
	s.mu.RUnlock()
	if known {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, c.ID) // it needs no place of another's
	if len(s.byID) >= maxScrapers {
		s.forgetLocked(now)
	}
	for id := range s.byID {
		if len(s.byID) < maxScrapers {
			break
		}
		delete(s.byID, id) // any: one that is in use comes back
	}
	s.byID[c.ID] = sighting{scraperKey{c.Tenant, c.Name}, c.Expires, now}
}

// forgetLocked forgets the tokens that are no longer in use.
func (s *scrapers) forgetLocked(now time.Time) {
	maps.DeleteFunc(s.byID, func(_ string, seen sighting) bool { return now.Sub(seen.at) > rememberScraper })
}

// expiries says when the first token of each scraper ends that the caller may know
// of: those of its tenant, or of itself if it may scrape some agents only.
func (s *scrapers) expiries(who caller, now time.Time) map[scraperKey]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLocked(now)
	first := make(map[scraperKey]time.Time)
	for _, seen := range s.byID {
		of := seen.scraper
		if of.tenant != who.tenant || who.allow != "" && of.name != who.shown.name {
			continue
		}
		if at, known := first[of]; !known || seen.expires.Before(at) {
			first[of] = seen.expires
		}
	}
	return first
}
