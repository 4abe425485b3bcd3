package store_test

import (
	"log/slog"
	"testing"

	"github.com/farscrape/farscrape/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	store.SetDriverLogger(slog.New(slog.DiscardHandler))
	// go-redis goes on dialling for up to a second after its client is closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}
