package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/farscrape/farscrape/scripts/rig"
)

const largeBody = 200 << 20 // bytes

// A huge answer passes in little memory, and small ones pass beside it.
func TestALargeBodyTakesLittleMemoryAndDelaysNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		block := make([]byte, 1<<20)
		for i := range block {
			block[i] = byte(i * 7 / 3)
		}
		want := sha256.New()
		for range largeBody / len(block) {
			want.Write(block)
		}
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/small" {
				fmt.Fprintln(w, "up 1")
				return
			}
			for range largeBody / len(block) {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}))
		t.Cleanup(target.Close)
		s.addAgent("a", "FARSCRAPE_TARGETS=large="+target.URL+"/large,small="+target.URL+"/small")

		usual := s.smallScrapes(t, 50)
		idle := map[*rig.Process]int{}
		for _, p := range s.Processes() {
			p.ResetPeak()
			idle[p] = p.Memory("VmRSS")
		}
		done := make(chan error, 1)
		began := time.Now()
		go func() { done <- s.largeScrape(want.Sum(nil)) }()
		meanwhile := []time.Duration{}
		for running := true; running; {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			default:
				meanwhile = append(meanwhile, s.smallScrapes(t, 1)...)
			}
		}
		took := time.Since(began)
		for p, idle := range idle {
			grown := p.Memory("VmHWM") - idle
			figure(t, "200 MB: %s grew by %d kB at its peak", p.Name, grown>>10)
			if grown > 64<<20 && !raceEnabled { // the race detector's shadow memory is not ours
				t.Errorf("%s grew by %d kB, more than 64 MiB", p.Name, grown>>10)
			}
		}
		if len(meanwhile) < 3 {
			t.Errorf("only %d small scrapes in %s: the large one blocks them", len(meanwhile), took)
		}
		figure(t, "200 MB in %s; a small scrape takes %s at the median, meanwhile %s (of %d, the longest %s)",
			took.Round(time.Millisecond), median(usual), median(meanwhile), len(meanwhile), slices.Max(meanwhile))
	})
}

func (s *stack) smallScrapes(t *testing.T, n int) []time.Duration {
	t.Helper()
	var took []time.Duration
	for range n {
		began := time.Now()
		if got := s.scrape(s.edge(), "a/small"); got.StatusCode != 200 || string(got.body) != "up 1\n" {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		took = append(took, time.Since(began))
	}
	return took
}

func (s *stack) largeScrape(want []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", s.edge().URL("/scrape/a/large"), nil)
	req.Header.Set("Authorization", "Bearer "+s.scraper)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "120")
	resp, err := plain().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, resp.Body)
	if err == nil && (n != largeBody || string(sum.Sum(nil)) != string(want)) {
		err = fmt.Errorf("%d bytes of %d, or others", n, largeBody)
	}
	return err
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2].Round(10 * time.Microsecond)
}

// Frozen targets take none of what others need.
func TestFrozenTargetsDelayNobody(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		thaw := make(chan struct{})
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/frozen" {
				fmt.Fprintln(w, "up 1")
				return
			}
			_, _ = w.Write(make([]byte, 300<<10)) // into its window, and then nothing
			w.(http.Flusher).Flush()
			<-thaw
		}))
		t.Cleanup(target.Close)
		targets := ""
		for i := range 20 {
			targets += fmt.Sprintf(",f%d=%s/frozen", i, target.URL)
		}
		s.addAgent("frozen", "FARSCRAPE_TARGETS="+targets[1:])
		s.addAgent("a", "FARSCRAPE_TARGETS=small="+target.URL+"/small")
		usual := s.smallScrapes(t, 30)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		begun := make(chan struct{}, 20)
		for i := range 20 {
			go func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", s.edge().URL(fmt.Sprintf("/scrape/frozen/f%d", i)), nil)
				req.Header.Set("Authorization", "Bearer "+s.scraper)
				req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "60")
				if resp, err := plain().Do(req); err == nil { // its header is here: it has begun, and is not read
					defer resp.Body.Close()
					begun <- struct{}{}
					<-ctx.Done()
				}
			}()
		}
		for range 20 {
			<-begun
		}
		meanwhile := s.smallScrapes(t, 30)
		figure(t, "beside 20 frozen targets a small scrape takes %s at the median, alone %s", median(meanwhile), median(usual))
		cancel()
		close(thaw)
	})
}
