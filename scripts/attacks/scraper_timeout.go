package main

import (
	"fmt"
	"strconv"
)

// timeoutAttacks are scrapes that say odd things of how long they may take. What
// is no plain number is as good as none: 10 s, less a twentieth.
func timeoutAttacks() []attack {
	timed := func(name, sent, expected string, fields ...string) attack {
		return attack{name: name, sent: sent, expected: expected, run: func(t *trial) string {
			o := t.get("/scrape/victim/t", fields...)
			left, _ := strconv.ParseFloat(t.stack.targets.got("victim", small).Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
			return fmt.Sprintf("%s; the target has %.1f s", o, left)
		}}
	}
	const asNone = "200 victim/t; the target has 9.5 s"
	return []attack{
		timed("timeout-nan", "a time-out of NaN", asNone, seconds+"NaN"),
		timed("timeout-inf", "Inf", asNone, seconds+"Inf"),
		timed("timeout-negative", "-1", asNone, seconds+"-1"),
		timed("timeout-1e300", "1e300", asNone, seconds+"1e300"),
		timed("timeout-hexadecimal", "0x10", asNone, seconds+"0x10"),
		timed("timeout-twice", "two time-outs", asNone, seconds+"1", seconds+"2"),
		timed("timeout-empty", "an empty one", asNone, seconds),
		timed("timeout-zero", "0", asNone, seconds+"0"),
		timed("timeout-300-digits", "a number of 300 digits, which the cap makes 5 min", "200 victim/t; the target has 299.5 s", seconds+fmt.Sprintf("1%0299d", 0)),
		timed("connection-names-fields", "Connection: Authorization, X-Prometheus-Scrape-Timeout-Seconds", "200 victim/t; the target has 1.9 s",
			"Connection: Authorization, X-Prometheus-Scrape-Timeout-Seconds", seconds+"2"),
		asking("timeout-tiny", "a microsecond", "GET /scrape/victim/t HTTP/1.1\nHost: x\n{auth}\n"+seconds+"0.000001\n\n", "504 deadline"),
	}
}
