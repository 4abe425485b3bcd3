package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// events follows /api/v1/events at a replica, and sends each event as "kind cause".
func (s *stack) events(url string, lastID string) (told <-chan string, cut func()) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.scraper)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-ID", lastID)
	resp, err := plain().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		s.t.Fatal(resp.Status)
	}
	c := make(chan string, 100)
	go func() {
		defer close(c)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			var e struct{ Kind, Agent, Cause string }
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &e) == nil {
				c <- e.Agent + " " + e.Kind + " " + e.Cause
			}
		}
	}()
	return c, func() { _ = resp.Body.Close() }
}

// What happens to an agent at one replica is told at another, and who was cut goes on
// where it was.
func TestEventsAreToldByAnyReplica(t *testing.T) {
	onBoth(t, func(t *testing.T, s *stack) {
		url := s.edge().URL("/api/v1/events")
		told, cut := s.events(url, "0-0")
		want := func(events ...string) {
			t.Helper()
			for _, want := range events {
				if got := <-told; got != want {
					t.Fatalf("told %q, want %q", got, want)
				}
			}
		}
		a := s.addAgent("edge-1")
		want("edge-1 linked ")
		cut()
		var list struct {
			Events []struct{ ID, Kind, Replica string }
			Next   string
		}
		eventually(t, "the list has it", func() error {
			got := get(t, url, "Authorization", "Bearer "+s.scraper)
			if err := json.Unmarshal(got.body, &list); err != nil || len(list.Events) != 1 || list.Next != list.Events[0].ID {
				return fmt.Errorf("%d %s, %v", got.StatusCode, got.body, err)
			}
			return nil
		})
		a.Stop()
		told, cut = s.events(url, list.Next)
		defer cut()
		want("edge-1 closed agent_stopped")
		if n := len(s.Replicas); n > 1 {
			s.owner().Stop() // who follows the other notices nothing
			s.startAgent("edge-2", "FARSCRAPE_RELAY_URL="+s.edge().URL(""))
			want("edge-2 linked ")
		}
	})
}
