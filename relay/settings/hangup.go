package settings

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// TakeHangups takes SIGHUP, which would otherwise end the process, until stop is
// called: it is logged, and [Watch] reads its files anew.
func TakeHangups(log *slog.Logger) (stop func()) {
	came, over := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(came, syscall.SIGHUP)
	var logging sync.WaitGroup
	logging.Go(func() {
		for {
			select {
			case <-came:
				log.Info("SIGHUP: the files that are watched are read anew")
			case <-over:
				return
			}
		}
	})
	return func() {
		signal.Stop(came)
		close(over)
		logging.Wait()
	}
}
