package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/farscrape/farscrape/scripts/rig"
)

// An answer is an HTTP answer, read to its end.
type answer struct {
	*http.Response
	body []byte
	err  error // of reading the body: it broke off
}

func (a *answer) reason() string { return a.Header.Get("Farscrape-Error") }

// do sends a request, and fails the test only if there is no answer at all.
func do(t testing.TB, req *http.Request, client *http.Client) *answer {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return &answer{resp, body, err}
}

// plain is a client that changes nothing of what it is answered.
func plain() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get asks url with the given header: name, value, name, value.
func get(t testing.TB, url string, header ...string) *answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return do(t, req, plain())
}

// tryGet asks url and wants 200.
func tryGet(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}
