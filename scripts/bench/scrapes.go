package main

import "fmt"

// A benchCase is a load: a size of body and how it is sent, of so many agents, by
// so many scrapers.
type benchCase struct {
	size     string
	identity bool
	agents   int
	scrapers int
}

func (c benchCase) title() string {
	encoding := "gzip"
	if c.identity {
		encoding = "identity"
	}
	return fmt.Sprintf("%s %s, %d agents, %d scrapers", c.size, encoding, c.agents, c.scrapers)
}

// scrapes runs the cases that the flags say.
func (b *bench) scrapes() int {
	var cases []benchCase
	for _, size := range b.sizes {
		cases = append(cases, benchCase{size, b.identity, b.agents, b.scrapers})
	}
	return b.run(cases)
}

// all runs what the project holds itself to. One scraper alone tells how long a
// scrape takes where nothing else goes on.
func (b *bench) all() int {
	var cases []benchCase
	for _, size := range []string{"20kB", "500kB", "5MB"} {
		cases = append(cases, benchCase{size, false, 1, 16}, benchCase{size, true, 1, 16})
	}
	cases = append(cases, benchCase{"20kB", false, 1, 1}, benchCase{"200MB", true, 1, 1},
		benchCase{"20kB", false, 100, 16}, benchCase{"20kB", false, 1000, 16})
	return b.run(cases)
}

// run runs cases, and starts the systems anew where the number of agents changes.
func (b *bench) run(cases []benchCase) (status int) {
	var payloads []*payload
	for _, c := range cases {
		p, err := newPayload(c.size, !c.identity)
		b.Must(err)
		payloads = append(payloads, p)
	}
	var systems []*system
	for i, c := range cases {
		if i == 0 || c.agents != cases[i-1].agents {
			b.Clear()
			systems = b.startSystems(b.startTarget(payloads), c.agents)
		}
		contest := b.hold(c.title(), systems, payloads[i], c.scrapers)
		contest.print(b.out, len(payloads[i].body), b.beside)
		if contest.failed() {
			status = 1
		}
	}
	return status
}

// failed reports whether any scrape did.
func (c *contest) failed() bool {
	for _, rounds := range c.rounds {
		for _, r := range rounds {
			if r.failed > 0 || r.scrapes == 0 {
				return true
			}
		}
	}
	return false
}
