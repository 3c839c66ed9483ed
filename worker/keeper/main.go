package keeper

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/beside"
)

// Main is the keeper's process, which a Client starts with its settings as the only argument. It tells out, which it closes, when workers can
// connect; its log goes to standard error.
func Main(ctx context.Context, settings, release string, out *os.File) error {
	var cfg Config
	if err := json.Unmarshal([]byte(settings), &cfg); err != nil {
		return fault.New(fault.Invalid, "keeper: settings: %w", err)
	}
	if cfg.Dir == "" || cfg.CacheDir == "" {
		return fault.New(fault.Invalid, "keeper: settings without folders; the worker starts it")
	}
	cfg.Release, cfg.Log = release, slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("part", "keeper")
	return New(cfg).Run(ctx, beside.Ready(out))
}
