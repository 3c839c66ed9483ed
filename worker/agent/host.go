package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/ident"
)

// memoryShare is how much of the host's memory is offered, in per cent: the rest is for the host and for us.
const memoryShare = 90

// hostResources sets what the worker offers where the configuration says nothing.
func hostResources(cfg *Config) error {
	if cfg.CPUMilli == 0 {
		cfg.CPUMilli = uint32(runtime.NumCPU()) * 1000 //nolint:gosec // there are not that many cores
	}
	if cfg.MemoryMiB == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return fmt.Errorf("memory of the host: %w", err)
		}
		total := info.Totalram * uint64(info.Unit) / 100 * memoryShare
		cfg.MemoryMiB = uint32(total >> 20) //nolint:gosec // in MiB it fits
	}
	return nil
}

// workerID returns the worker's name, choosing one at the first start.
func workerID(dir string) (string, error) {
	path := filepath.Join(dir, "id")
	data, err := os.ReadFile(path)
	if err == nil {
		id := strings.TrimSpace(string(data))
		if err := ident.Check(ident.Worker, id); err != nil {
			return "", fmt.Errorf("%s: %w; remove the file to get a new id", path, err)
		}
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	id := ident.New(ident.Worker)
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(id+"\n"), 0o600); err != nil {
		return "", err
	}
	return id, os.Rename(tmp, path)
}
