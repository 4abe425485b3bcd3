package agent

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestACrewRunsAllAtOnceAndEnds(t *testing.T) {
	for name, end := range map[string]func(*crew){
		"by itself": func(*crew) {}, // or the bubble would not end
		"dismissed": (*crew).dismiss,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrew()
				for range 3 { // the second and third time on the same goroutines
					var started, done sync.WaitGroup
					release := make(chan struct{})
					for range 100 {
						started.Add(1)
						done.Add(1)
						c.run(func() {
							defer done.Done()
							started.Done()
							<-release
						})
					}
					started.Wait()
					close(release)
					done.Wait()
					synctest.Wait()
				}
				end(c)
				c.all.Wait()
			})
		})
	}
}
