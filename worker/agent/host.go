package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/bucket"
	"github.com/skerry-dev/skerry/worker/keeper"
	"github.com/skerry-dev/skerry/worker/pool"
	"github.com/skerry-dev/skerry/worker/rootfs"
)

// How much of the host is offered, in per cent; the rest is for the host and for us.
const (
	memoryShare  = 90
	processShare = 75
)

// pidMax is the most that kernel.pid_max can be, and what systemd sets. The kernel's own default, 32,768, is less than what a host has memory
// for: an idle sandbox has 26 tasks.
const pidMax = 4 << 20

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
		total, err := cgroup.HostMemory(info.Totalram * uint64(info.Unit))
		if err != nil {
			return fmt.Errorf("memory of the host: %w", err)
		}
		cfg.MemoryMiB = uint32(total / 100 * memoryShare >> 20) //nolint:gosec // in MiB it fits
	}
	return nil
}

// openRootfs opens the store of images, whose lazy ones a keeper serves where the host can mount them.
func (a *Agent) openRootfs() (*rootfs.Store, error) {
	cfg := a.cfg
	store := rootfs.Config{Dir: filepath.Join(cfg.DataDir, "cache"), Source: a.bulk, CacheBytes: cfg.CacheBytes}
	if cfg.Blobs != nil {
		store.Local = cfg.Blobs
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		cfg.Log.Warn("images are fetched whole before they start: the host has no FUSE", "error", err)
	} else if len(cfg.Keeper) > 0 {
		store.Lazy = keeper.NewClient(keeper.ClientConfig{
			Dir: filepath.Join(cfg.RunDir, "keeper"), CacheDir: store.Dir, CacheBytes: rootfs.ChunkBytes(cfg.CacheBytes),
			LogFile: filepath.Join(cfg.DataDir, "keeper.log"), Command: cfg.Keeper, Release: cfg.Version,
			Source: rootfs.ChunkSource(a.bulk, store.Local), Profiles: a.bulk, Lost: a.lose, Log: cfg.Log,
		})
	}
	return rootfs.Open(store)
}

// openBuckets describes what mounts buckets.
func (a *Agent) openBuckets() (*bucket.Store, error) {
	cfg := a.cfg
	return bucket.New(bucket.Config{
		Dir: filepath.Join(cfg.RunDir, "buckets"), CacheDir: filepath.Join(cfg.DataDir, "buckets"), LogFile: filepath.Join(cfg.DataDir, "buckets.log"),
		Program: cfg.Bucket, Trusted: cfg.BucketEndpoints, Roots: cfg.Network.ExtraRoots, Network: a.network, Log: cfg.Log,
	})
}

// lose ends what can't read its image any more. Containers of functions are left: their inputs fail with what they read.
func (a *Agent) lose(images []string, cause error) {
	if p := a.running.Load(); p != nil {
		p.sandboxes.Lose(images, cause)
	}
}

// memory is what the worker has of it now.
func (a *Agent) memory() (pool.Memory, error) {
	used, err := a.groups.Memory()
	if err != nil {
		return pool.Memory{}, err
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return pool.Memory{}, err
	}
	_, rest, _ := strings.Cut(string(text), "\nMemAvailable:")
	kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	available, err := strconv.ParseUint(kib, 10, 64)
	if err != nil {
		return pool.Memory{}, fmt.Errorf("available memory of the host: %w", err)
	}
	return pool.Memory{Offered: int(a.cfg.MemoryMiB), Used: int(used >> 20), Available: int(available >> 10)}, nil //nolint:gosec // in MiB they fit
}

// raisePIDMax has the host take as many tasks as its memory has room for. Where it may not be changed, fewer containers have room.
func raisePIDMax(log *slog.Logger) error {
	const path = "/proc/sys/kernel/pid_max"
	now, err := kernelSetting("pid_max")
	if err != nil || now >= pidMax {
		return err
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(pidMax)), 0); err != nil {
		log.Warn("the host takes few processes, and that can't be changed here", "pid_max", now, "error", err)
	}
	return nil
}

func kernelSetting(name string) (uint64, error) {
	text, err := os.ReadFile(filepath.Join("/proc/sys/kernel", name))
	if err != nil {
		return 0, fmt.Errorf("processes of the host: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("processes of the host: %s: %w", name, err)
	}
	return n, nil
}

// hostProcesses is how many tasks of the host containers may have together.
func hostProcesses() (uint64, error) {
	least := uint64(math.MaxUint64)
	for _, name := range []string{"pid_max", "threads-max"} {
		n, err := kernelSetting(name)
		if err != nil {
			return 0, err
		}
		least = min(least, n)
	}
	return least / 100 * processShare, nil
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
