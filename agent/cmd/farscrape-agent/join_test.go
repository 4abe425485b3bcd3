package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func tokenSaying(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","kid":"01234567"}`)) + "." + part([]byte(claims)) + ".c2ln"
}

// The command asks for a join token where the agent has none yet, and only there.
func TestJoinReadsItsTokenOnce(t *testing.T) {
	var joins atomic.Int64
	relay := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/agent/join" {
			http.Error(w, "no links here", http.StatusServiceUnavailable)
			return
		}
		joins.Add(1)
		fmt.Fprintf(w, `{"token":%q}`, tokenSaying(fmt.Sprintf(`{"role":"agent","sub":"edge-1","jti":"1","exp":%d}`, time.Now().Add(time.Hour).Unix())))
	}))
	defer relay.Close()
	environ := []string{"FARSCRAPE_NAME=edge-1", "FARSCRAPE_STATE_DIR=" + filepath.Join(t.TempDir(), "state")}
	by := tokenSaying(`{"role":"join","sub":"edge-*"}`)
	try := func(input string, args ...string) (string, error) {
		ctx, stop := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer stop()
		var out bytes.Buffer
		err := run(ctx, append([]string{"join", relay.URL}, args...), environ, strings.NewReader(input), &out, &out)
		return out.String(), err
	}
	if _, err := try(" \n"); err == nil || !strings.Contains(err.Error(), "no join token: farscrape-relay token -join NAME prints one") {
		t.Errorf("nothing typed: %v", err)
	}
	for _, want := range []string{"msg=joined agent=edge-1", "has joined before, and needs no join token"} {
		if out, err := try(by + "\n"); err != nil || !strings.Contains(out, want) || joins.Load() != 1 {
			t.Errorf("%d joins, %v\n%s", joins.Load(), err, out)
		}
	}
	if out, err := try("", by); err != nil || !strings.Contains(out, "list of processes") || joins.Load() != 2 {
		t.Errorf("as an argument: %d joins, %v\n%s", joins.Load(), err, out)
	}
	if err := run(t.Context(), []string{by}, environ, nil, new(bytes.Buffer), new(bytes.Buffer)); err == nil || strings.Contains(err.Error(), by) {
		t.Errorf("a token and nothing else: %v", err)
	}
	for _, args := range [][]string{{"join"}, {"join", "a", "b", "c"}} {
		if err := run(t.Context(), args, environ, nil, new(bytes.Buffer), new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), "say farscrape-agent join URL") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
