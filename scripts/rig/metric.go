package rig

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Metric adds up the series of that name, with all of these label pairs, that a
// process shows; 0 if it shows none.
func Metric(ops, name string, pairs ...string) float64 {
	sum, _ := LookupMetric(ops, name, pairs...)
	return sum
}

// LookupMetric is as Metric, and says whether it found any.
func LookupMetric(ops, name string, pairs ...string) (sum float64, found bool) {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get("http://" + ops + "/metrics")
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	all, _ := io.ReadAll(resp.Body)
	for line := range bytes.Lines(all) {
		series, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		of, labels, _ := strings.Cut(series, "{")
		if of == name && hasAll(labels, pairs) {
			var v float64
			_, _ = fmt.Sscan(value, &v)
			sum, found = sum+v, true
		}
	}
	return sum, found
}
