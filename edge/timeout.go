package edge

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// timeoutHeader is Prometheus's: the scrape's timeout in seconds, from the same
// instant as its own.
const timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"

// Prometheus must read our answer before its own time is up: the scrape gets a
// twentieth less, between these.
const (
	minMargin = 10 * time.Millisecond
	maxMargin = 500 * time.Millisecond
)

// timeout is how long the scraper waits. It counts on one plain decimal number
// above zero, as Prometheus writes it; anything else (none, two, a sign, an
// exponent, NaN) is as good as none.
func (e *Edge) timeout(h http.Header) time.Duration {
	d := e.DefaultTimeout
	if v := h[timeoutHeader]; len(v) == 1 {
		if sent := parseSeconds(v[0]); sent > 0 {
			d = sent
		}
	}
	return min(d, e.MaxTimeout)
}

// parseSeconds returns 0 for what is not a plain decimal number.
func parseSeconds(s string) time.Duration {
	const most = float64(1<<63-1) / float64(time.Second)
	if strings.Trim(s, "0123456789.") != "" {
		return 0
	}
	f, err := strconv.ParseFloat(s, 64) // digits and dots: no names, no exponents
	if err != nil && f == 0 {
		return 0
	}
	if f >= most { // infinity, where there are too many digits, with them
		return 1<<63 - 1
	}
	return time.Duration(f * float64(time.Second))
}

// lessMargin is what of a timeout may be used up before the answer must start.
func lessMargin(timeout time.Duration) time.Duration {
	margin := max(minMargin, min(timeout/20, maxMargin))
	return timeout - min(margin, timeout/2)
}

// formatSeconds is how Prometheus writes a timeout.
func formatSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}
