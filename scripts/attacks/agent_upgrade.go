package main

import "fmt"

// upgradeAttacks are of those who want a link.
func upgradeAttacks() []attack {
	return []attack{
		{name: "bad-tokens", sent: "1,000 upgrades with a token that is none", expected: "1000 × 401 unauthorized", short: true, run: func(t *trial) string {
			seen := make(map[string]int)
			for range 1000 {
				_, why := t.upgrade(0, guise{token: "eyJub25l.none.none"})
				seen[why]++
			}
			return counted(seen)
		}},
	}
}

// counted lists what was seen how often.
func counted(seen map[string]int) (text string) {
	for what, n := range seen {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d × %s", n, what)
	}
	return text
}
