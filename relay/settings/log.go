package settings

import (
	"fmt"
	"io"
	"log/slog"
)

// Logger makes the logger that LOG_LEVEL (debug, info, warn, error) and
// LOG_FORMAT (text, json) ask for.
func Logger(w io.Writer, level, format string) (*slog.Logger, error) {
	var options slog.HandlerOptions
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%sLOG_LEVEL=%s: must be debug, info, warn or error", Prefix, level)
	}
	options.Level = least
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &options)), nil
	}
	return nil, fmt.Errorf("%sLOG_FORMAT=%s: must be text or json", Prefix, format)
}
