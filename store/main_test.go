package store

import (
	"log/slog"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	SetDriverLogger(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}
