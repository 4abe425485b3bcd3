package agent

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/farscrape/farscrape/relay/wire"
)

// ownTarget is the agent's own metrics as a target: asked as any other, but
// without a socket in between.
func ownTarget(metrics http.Handler, labels map[string]string) *target {
	return &target{
		Target:    wire.Target{Name: wire.OwnTarget, Path: "/metrics", Labels: labels},
		url:       &url.URL{Scheme: "http", Host: wire.OwnTarget, Path: "/metrics"},
		transport: &inProcess{metrics},
	}
}

// inProcess is a transport that asks a handler. What it answers is small and
// held in memory.
type inProcess struct{ handler http.Handler }

func (t *inProcess) get(ctx context.Context, u *url.URL, header []wire.Field) (*http.Response, error) {
	a := &answer{status: http.StatusOK, header: make(http.Header)}
	t.handler.ServeHTTP(a, newRequest(ctx, u, header))
	return &http.Response{
		StatusCode:    a.status,
		Header:        a.header,
		Body:          io.NopCloser(&a.body),
		ContentLength: int64(a.body.Len()),
	}, nil
}

func (t *inProcess) closeIdle() {}

// An answer is the http.ResponseWriter of inProcess.
type answer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
