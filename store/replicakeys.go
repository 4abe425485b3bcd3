package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// An about is what a replica says of itself to the others, in JSON. Members may be
// added.
type about struct {
	Seals bool     `json:"seals"`           // seals what it sends, and checks what it receives
	Keys  []string `json:"keys"`            // the IDs of its keys; the first signs
	Lease leaseID  `json:"lease,omitempty"` // on which its links stand; 0: of an earlier version, they have leases of their own
	// Former is the lease that it has renounced, while links still stand on it.
	Former  leaseID `json:"former,omitempty"`
	Sharded bool    `json:"sharded,omitempty"` // hears sharded pub/sub, and plain one, as all do
	Lists   bool    `json:"lists,omitempty"`   // finds target lists that stand under their hash
	Revokes bool    `json:"revokes,omitempty"` // carries out what is to be taken back
	// Inlines is for how many seconds more it leaves lists in their entries at least, for
	// replicas that do not.
	Inlines int64 `json:"inlines,omitempty"`
}

// maxKeys bounds the keys of another replica, and keySize is the length of their
// IDs.
const (
	maxKeys = 64
	keySize = 8
)

// maxTold bounds the replicas that are named at a time, for whoever may write the
// list may make some up.
const maxTold = 4

func (s *Redis) about(lease, former leaseID) []byte {
	a := about{Lease: lease, Former: former, Sharded: s.inbox.sharded.Load(), Lists: true, Revokes: true, Inlines: s.roster.inlinesFor(time.Now())}
	if s.config.Keys != nil {
		a.Seals, a.Keys = true, s.config.Keys().KeyIDs()
	}
	b, err := json.Marshal(a)
	if err != nil {
		panic(fmt.Sprintf("store: about: %v", err)) // a plain struct always marshals
	}
	return b
}

// parseAbout reads about.lua's reply: whether the lease goes on, and what the living
// say. What does not decode was not said.
func parseAbout(cmd *redis.Cmd, all *living) (kept bool, err error) {
	reply, err := cmd.StringSlice()
	switch {
	case err != nil:
		return false, err
	case len(reply) == 1 && reply[0] == "lost":
		return false, errLeaseLost
	case len(reply)%2 != 1:
		return false, fmt.Errorf("about: %w", errReply)
	}
	all.about = make(map[wire.ReplicaID]about, len(reply)/2)
	for pair := range slices.Chunk(reply[1:], 2) {
		var a about
		if !wire.ValidID(pair[0]) || json.Unmarshal([]byte(pair[1]), &a) != nil {
			continue
		}
		a.Keys = a.Keys[:min(len(a.Keys), maxKeys)]
		if !slices.ContainsFunc(a.Keys, func(id string) bool { return len(id) != keySize }) {
			all.about[wire.ReplicaID(pair[0])] = a
		}
	}
	return reply[0] == "kept", nil
}

// says takes what a replica says. One that seals does so to its end.
func (o *other) says(a about) {
	o.about.Keys, o.about.Sharded, o.about.Inlines = a.Keys, a.Sharded, a.Inlines
	if a.Seals && o.seals.IsZero() {
		o.about.Seals, o.seals = true, time.Now()
	}
}

// noteSeals notes since when all others seal. r.mu is held.
func (r *roster) noteSeals() {
	for _, o := range r.others {
		if o.seals.IsZero() {
			r.allSeal = time.Time{}
			return
		}
	}
	if r.allSeal.IsZero() {
		r.allSeal = time.Now()
	}
}

// sealed notes that another replica was heard to seal, whatever the list says.
func (r *roster) sealed(id wire.ReplicaID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.others[id]
	if o == nil {
		o = new(other)
		r.others[id] = o
	}
	o.says(about{Seals: true, Keys: o.about.Keys, Sharded: o.about.Sharded})
}

// sealsFor says whether envelopes to a replica are to be sealed, and which keys it
// has, as far as is known.
func (s *Redis) sealsFor(to wire.ReplicaID) (keys []string, seals bool) {
	switch r := &s.roster; {
	case s.config.Keys == nil:
		return nil, false
	case to == s.config.Replica:
		return nil, true
	default:
		r.mu.Lock()
		defer r.mu.Unlock()
		if o := r.others[to]; o != nil && !o.seals.IsZero() {
			return o.about.Keys, true
		}
		return nil, false
	}
}

// knows reports whether a replica was alive when last counted.
func (r *roster) knows(id wire.ReplicaID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.others[id] != nil
}

// needsSeal says whether an unsealed envelope from a replica is to be refused. One
// that has said for the length of a lease that it seals has seen by then that we do,
// too. A stranger may be of an older version, and only just come, while not all
// seal.
func (s *Redis) needsSeal(from wire.ReplicaID) bool {
	switch {
	case s.config.Keys == nil:
		return false
	case s.config.SealedOnly || from == s.config.Replica:
		return true
	}
	r := &s.roster
	r.mu.Lock()
	defer r.mu.Unlock()
	since := r.allSeal
	if o := r.others[from]; o != nil {
		since = o.seals
	}
	return !since.IsZero() && time.Since(since) >= s.timing.lease
}

// warnOfKeys tells which replicas have other keys than this one, once a change, and
// counts them, and those that do not seal.
func (s *Redis) warnOfKeys() {
	if s.config.Keys == nil {
		return
	}
	ours := s.config.Keys().KeyIDs()
	news, mismatched, unsealing := s.roster.compareKeys(ours)
	told := 0
	for id, theirs := range news {
		if told++; told > maxTold {
			s.log.Warn("and so have others", "replicas", len(news)-maxTold)
			break
		}
		s.log.Warn("another replica has other keys: one refuses the tokens that the other signs; FARSCRAPE_KEY_FILE must be the same everywhere",
			"replica", id, "its_keys", theirs, "our_keys", ours)
	}
	s.metrics.mismatched.Set(float64(mismatched))
	s.metrics.unsealing.Set(float64(unsealing))
}

// AllHave reports whether all replicas that may be alive have said that they check with
// the key of that ID. Before they are counted nobody knows.
func (s *Redis) AllHave(key string) bool {
	if !s.roster.known() {
		return false
	}
	s.roster.mu.Lock()
	defer s.roster.mu.Unlock()
	for _, o := range s.roster.others {
		if !slices.Contains(o.about.Keys, key) {
			return false
		}
	}
	return true
}

// compareKeys compares our keys with those of the others: who signs with a key that
// the other has not does not fit. It returns those that did not before.
func (r *roster) compareKeys(ours []string) (news map[wire.ReplicaID][]string, mismatched, unsealing int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	news = make(map[wire.ReplicaID][]string)
	for id, o := range r.others {
		if o.seals.IsZero() {
			unsealing++
		}
		theirs := o.about.Keys
		if len(theirs) == 0 || slices.Contains(ours, theirs[0]) && slices.Contains(theirs, ours[0]) {
			o.mismatch = ""
			continue
		}
		mismatched++
		if now := fmt.Sprint(ours, theirs); now != o.mismatch {
			o.mismatch, news[id] = now, theirs
		}
	}
	return news, mismatched, unsealing
}
