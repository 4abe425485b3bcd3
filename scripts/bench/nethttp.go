package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"

	"github.com/farscrape/farscrape/scripts/rig"
)

// oneHop is the argument with which this program runs itself to be one.
const oneHop = "one-hop"

// startNetHTTP is one hop by net/http, that neither checks nor limits anything:
// as much as any relay and agent spend that speak HTTP by it at both ends.
func (b *bench) startNetHTTP(target *targetServer) *system {
	self, err := os.Executable()
	b.Must(err)
	addr := rig.FreePort()
	p := b.Start(nethttp, nil, self, oneHop, addr, target.addr)
	p.AwaitListening(addr)
	return &system{processes: []*rig.Process{p}, ways: b.toTarget(addr)}
}

// runHop serves at the first argument what the second answers.
func runHop(args []string) int {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	err := http.ListenAndServe(args[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+args[1]+r.URL.Path, nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ask.Header = r.Header
		answer, err := transport.RoundTrip(ask)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		maps.Copy(w.Header(), answer.Header)
		w.WriteHeader(answer.StatusCode)
		_, _ = io.Copy(w, answer.Body)
	}))
	fmt.Fprintln(os.Stderr, err)
	return 1
}
