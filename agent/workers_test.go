package agent

import (
	"sync"
	"testing"
	"testing/synctest"
)

func TestWorkersRunAllAtOnceAndEnd(t *testing.T) {
	for name, end := range map[string]func(*workers){
		"by itself": func(*workers) {}, // or the bubble would not end
		"closed":    (*workers).close,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorkers()
				for range 3 { // the second and third time on the same goroutines
					var started, done sync.WaitGroup
					release := make(chan struct{})
					for range 100 {
						started.Add(1)
						done.Add(1)
						w.run(func() {
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
				end(w)
				w.all.Wait()
			})
		})
	}
}
