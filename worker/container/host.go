package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Defaults of a HostConfig.
const (
	// DefaultDiskMiB is the size of a writable layer where the function says none.
	DefaultDiskMiB = 10 << 10
	// DefaultStopGrace is how long a runner may take to end when it has nothing more to do or was interrupted: user code's exit hooks
	// run then.
	DefaultStopGrace = 30 * time.Second
	// DefaultStartupTimeout bounds a start where the function says nothing.
	DefaultStartupTimeout = 300 * time.Second
)

// HostConfig is what containers of a worker share. Folders are absolute; all fields without a default are needed.
type HostConfig struct {
	RunDir     string // a folder per container with its sockets and bundle; short, for socket paths have 107 bytes at most
	DiskDir    string // files of writable layers
	RuntimeDir string // with skerry-init and py/, seen by containers at RuntimeTarget

	Network   Network
	Rootfs    Rootfs
	Sandboxes Sandboxes
	Dialects  Dialects
	Logs      LogSink
	Access    Access  // nil: containers can't call the gateway
	Volumes   Volumes // nil: containers can have none
	Ahead     Ahead   // nil: all sandboxes are booted when they are needed
	Buckets   Buckets // nil: no container has any

	DiskMiB   uint32        // default DefaultDiskMiB
	MemoryMiB uint32        // what all containers together may use, for messages
	StopGrace time.Duration // default DefaultStopGrace
}

// Host starts containers. It is safe for concurrent use.
type Host struct {
	cfg  HostConfig
	logs sync.WaitGroup

	mu         sync.Mutex
	containers map[string]*Container
}

// NewHost returns a host and makes its folders, emptying them of what an earlier process left.
func NewHost(cfg HostConfig) (*Host, error) {
	if cfg.DiskMiB == 0 {
		cfg.DiskMiB = DefaultDiskMiB
	}
	if cfg.StopGrace == 0 {
		cfg.StopGrace = DefaultStopGrace
	}
	for _, dir := range []string{cfg.RunDir, cfg.DiskDir} {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("containers: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("containers: %w", err)
		}
	}
	// The runtime folder is bound read-only, so the place for the sockets has to be in it already.
	if err := os.MkdirAll(filepath.Join(cfg.RuntimeDir, runName), 0o755); err != nil { //nolint:gosec // an empty folder for all
		return nil, fmt.Errorf("containers: runtime folder: %w", err)
	}
	return &Host{cfg: cfg, containers: make(map[string]*Container)}, nil
}

// Get returns a container that runs, or nil.
func (h *Host) Get(id string) *Container {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.containers[id]
}

// Len returns how many containers there are.
func (h *Host) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.containers)
}

// Wait waits until all containers' output has been handed to the log sink. No container runs any more.
func (h *Host) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		h.logs.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(errors.New("containers: output not handed over"), context.Cause(ctx))
	}
}

func (h *Host) add(c *Container) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.containers[c.spec.ID] != nil {
		return false
	}
	h.containers[c.spec.ID] = c
	return true
}

func (h *Host) remove(c *Container) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.containers, c.spec.ID)
}
