package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/farscrape/farscrape/relay/wire"
	"github.com/redis/go-redis/v9"
)

// A line is one link in a record; scripts/record.lua has its form.
type line struct {
	link         wire.LinkID
	epoch        uint64
	expiry, seen int64 // in ms of Redis's clock; a live link's expiry may be the lease that it stands on
	shared       bool
	instance     wire.InstanceID
	replica      wire.ReplicaID
	list         string // the hash of its target list, if that does not stand in its details; of another line
}

// maxEpoch bounds an epoch: the scripts' numbers are exact below it.
const maxEpoch = 1 << 53

func parseLine(s string) (l line, ok bool) {
	f := strings.Split(s, " ")
	if len(f) != 7 {
		return line{}, false
	}
	var errs [3]error
	l = line{link: wire.LinkID(f[0]), shared: f[4] == "1", instance: wire.InstanceID(f[5]), replica: wire.ReplicaID(f[6])}
	l.epoch, errs[0] = strconv.ParseUint(f[1], 10, 64)
	l.expiry, errs[1] = strconv.ParseInt(f[2], 10, 64)
	l.seen, errs[2] = strconv.ParseInt(f[3], 10, 64)
	ids := wire.ValidID(f[0]) && wire.ValidID(f[5]) && wire.ValidID(f[6])
	return l, ids && l.epoch < maxEpoch && errs == [3]error{}
}

// parseListLines reads the lines on links' target lists: their hashes.
func parseListLines(s string) map[wire.LinkID]string {
	lists := make(map[wire.LinkID]string)
	for line := range strings.Lines(s) {
		link, rest, _ := strings.Cut(line, " ")
		lists[wire.LinkID(link)], _, _ = strings.Cut(rest, " ")
	}
	return lists
}

// entry puts an entry together from its line and its details, which do not know
// of an epoch given later. Details that are not as replicas write them leave
// what the line says, since the link still works, and err says what is wrong.
func (r *reader) entry(l *line, key wire.AgentKey, details string, read *reading) (entry wire.Entry, err error) {
	var said wire.Entry
	details, list := splitDetails(details)
	err = json.Unmarshal([]byte(details), &said)
	if err == nil && said.AgentKey != key {
		err = fmt.Errorf("it is of agent %q", said.AgentKey)
	}
	switch {
	case err != nil:
	case list == "":
		said.List, err = r.list(l.list, read)
	default:
		said.List, err = r.lists.read(list)
	}
	if err == nil {
		entry = said
	}
	entry.AgentKey, entry.Link, entry.Epoch = key, l.link, l.epoch
	entry.Instance, entry.Replica, entry.Shared = l.instance, l.replica, l.shared
	return entry, err
}

// list finds a list by its hash. Where it is not known, the reading says so.
func (r *reader) list(hash string, read *reading) (*wire.TargetList, error) {
	h, ok := wire.ParseListHash(hash)
	if !ok {
		return nil, fmt.Errorf("it has no target list, and names the list %.40q", hash)
	}
	if list := cmp.Or(r.fetched[h], r.lists.find(h)); list != nil {
		return list, nil
	}
	if r.fetched != nil {
		return nil, fmt.Errorf("%w: %s", errLostList, hash)
	}
	read.lists = append(read.lists, h)
	return nil, nil
}

// errLostList: a list is not there that a link names, or is another.
var errLostList = errors.New("its target list is not there")

// targetsMember is what comes before the target list in an entry's details.
const targetsMember = `,"targets":`

// splitDetails takes the target list out of an entry's details, which end with it:
// it may have megabytes, and is mostly known. What is not so is left as it is.
func splitDetails(details string) (rest, list string) {
	if i := strings.Index(details, targetsMember); i >= 0 && strings.HasSuffix(details, "}") {
		return details[:i] + "}", details[i+len(targetsMember) : len(details)-1]
	}
	return details, ""
}

// A reader reads records.
type reader struct {
	lists   *targetLists
	fetched map[wire.ListHash]*wire.TargetList // that were not known; nil before they were asked for
	judge   func(leaseID) (verdict, time.Time)
}

// A reading is what a record was read as.
type reading struct {
	agent *wire.Agent   // nil if there is none
	age   time.Duration // for how long it has not been linked
	flaws []flaw
	err   error

	timed    bool                  // a link of an earlier version is live, and ends by itself
	ended    map[leaseID]time.Time // the leases that links in it stood on, and since when they do not
	doubtful []leaseID             // of which nothing is known: their links are among the live ones
	lists    []wire.ListHash       // that it names and that are not known: its entries are without them
}

// read reads lookup.lua's reply.
func (r *reader) read(key wire.AgentKey, cmd *redis.Cmd) (read reading) {
	reply, err := cmd.Slice()
	if err != nil {
		return reading{err: err}
	}
	if len(reply) != 2 {
		return reading{err: fmt.Errorf("lookup: %w", errReply)}
	}
	clock, _ := reply[0].(string)
	now, err := strconv.ParseInt(clock, 10, 64)
	if err != nil {
		return reading{err: fmt.Errorf("lookup: %w", errReply)}
	}
	var flat []any
	switch record := reply[1].(type) {
	case []any:
		flat = record
	case string:
		return reading{flaws: []flaw{{key: key, err: errors.New(record)}}}
	default:
		return reading{err: fmt.Errorf("lookup: %w", errReply)}
	}
	if err := wire.CheckAgentName(key.Agent); err != nil && len(flat) > 0 {
		return reading{flaws: []flaw{{key: key, err: err}}}
	}
	fields := make(map[string]string, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		name, _ := flat[i].(string)
		fields[name], _ = flat[i+1].(string)
	}
	return r.decode(key, now, fields)
}

// decode makes an agent of a record's fields; now is Redis's clock. What cannot be
// read it leaves out, and says so.
func (r *reader) decode(key wire.AgentKey, now int64, fields map[string]string) (read reading) {
	var newest *line
	var noLine string // the first that is none
	noLines := 0
	a, lists := &wire.Agent{AgentKey: key}, parseListLines(fields["lists"])
	seen, _ := strconv.ParseInt(fields["seen"], 10, 64)
	for s := range strings.SplitSeq(fields["links"], "\n") {
		l, ok := parseLine(s)
		if s == "" {
			continue
		}
		if !ok {
			if noLines++; noLines == 1 {
				noLine = s
			}
			continue
		}
		l.list = lists[l.link]
		live := r.live(&l, now, &read)
		seen = max(seen, l.seen)
		entry, err := r.entry(&l, key, fields["d:"+string(l.link)], &read)
		if err != nil {
			f := flaw{key: key, err: fmt.Errorf("link %s: %w", l.link, err)}
			if live {
				f.link = &l
			}
			if live && errors.Is(err, errLostList) {
				read.err = f.err // it is not without targets
			}
			read.flaws = append(read.flaws, f)
		}
		if live {
			a.Links = append(a.Links, entry)
		}
		if newest == nil || younger(&entry, &a.Last) || !younger(&a.Last, &entry) && l.expiry > newest.expiry {
			newest, a.Last = &l, entry
		}
	}
	if noLines > 0 { // one flaw, however many there are
		read.flaws = append(read.flaws, flaw{key: key, err: fmt.Errorf("%d lines are none, the first %.100q", noLines, noLine)})
	}
	if newest == nil {
		if len(fields) > 0 {
			read.flaws = append(read.flaws, flaw{key: key, err: errNoLink})
		}
		return read
	}
	slices.SortFunc(a.Links, byEpoch)
	parseClaims(fields["claims"]).of(a)
	if a.Connected() {
		seen = now
	} else if a.LastClose = cutText(fields["close"], maxCause); a.LastClose == "" {
		a.LastClose = wire.CauseLost.String() // its replica went without a word
	}
	seen = max(min(seen, now), 0)
	a.LastSeen, read.age = time.UnixMilli(seen), time.Duration(now-seen)*time.Millisecond
	read.agent = a
	return read
}

// live reports whether a line is of a live link. The line of one whose lease has
// ended says then when that was.
func (r *reader) live(l *line, now int64, read *reading) bool {
	id := leaseID(l.expiry)
	if !id.isLease() {
		live := l.expiry > now
		read.timed = read.timed || live
		return live
	}
	switch v, since := r.judge(id); v {
	case ended:
		if read.ended == nil {
			read.ended = make(map[leaseID]time.Time)
		}
		read.ended[id] = since
		l.seen = max(l.seen, now-time.Since(since).Milliseconds())
		l.expiry = l.seen
		return false
	case unknown:
		read.doubtful = append(read.doubtful, id)
	}
	return true
}

// maxCause bounds the name of a close cause, in bytes.
const maxCause = 64

// cutText makes s UTF-8 of so many bytes at the most.
func cutText(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
