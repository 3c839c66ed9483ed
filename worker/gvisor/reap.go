package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// runsc keeps two files of each container in the state folder, CONTAINER_sandbox:SANDBOX.state and .lock, and a socket of each sandbox.
const (
	stateOf     = "_sandbox:"
	stateSuffix = ".state"
	lockSuffix  = ".lock"
)

// socketPaths are where the socket of a sandbox may be: where the first is longer than an address can be, runsc takes another.
func (r *Runtime) socketPaths(sandbox string) []string {
	var paths []string
	for _, dir := range []string{r.cfg.StateDir, "/var/run", "/run", "/tmp"} {
		paths = append(paths, filepath.Join(dir, "runsc-"+sandbox+".sock"))
	}
	return paths
}

// remove kills what is left of a sandbox and clears away all that runsc keeps of it and its containers. That is what runsc delete does, but for
// a process started each time and for containers whose sentry is gone, which it fails at. A sandbox that is not there is no error.
func (r *Runtime) remove(ctx context.Context, sandbox string) error {
	errs := []error{r.cfg.Cgroups.Remove(ctx, sandbox)}
	names, err := r.stateFiles()
	errs = append(errs, err)
	for _, name := range names {
		of := strings.TrimSuffix(strings.TrimSuffix(name, stateSuffix), lockSuffix)
		if strings.HasSuffix(of, stateOf+sandbox) {
			errs = append(errs, unlink(filepath.Join(r.cfg.StateDir, name)))
		}
	}
	for _, path := range r.socketPaths(sandbox) {
		errs = append(errs, unlink(path))
	}
	return errors.Join(errs...)
}

func (r *Runtime) stateFiles() ([]string, error) {
	dir, err := os.Open(r.cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("runsc state: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("runsc state: %w", err)
	}
	return names, nil
}

func unlink(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("runsc state: %w", err)
	}
	return nil
}

// List returns the ids of all sandboxes that this instance has started and not deleted, also those of an earlier process.
func (r *Runtime) List() ([]string, error) {
	names, err := r.stateFiles()
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, name := range names {
		if of, ok := strings.CutSuffix(name, stateSuffix); ok {
			if id, sandbox, ok := strings.Cut(of, stateOf); ok && id == sandbox {
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// Reap kills and deletes all sandboxes that an earlier process of this instance left, except those in keep.
func (r *Runtime) Reap(ctx context.Context, keep map[string]bool) error {
	ids, err := r.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		if !keep[id] {
			errs = append(errs, r.remove(ctx, id))
		}
	}
	// A runsc that was killed half way leaves processes that have no state file yet; they are in our cgroups.
	errs = append(errs, r.cfg.Cgroups.Reap(ctx, keep))
	if len(keep) == 0 {
		errs = append(errs, r.clear())
	}
	return errors.Join(errs...)
}

// Close gives back what sandboxes share. All of them have been deleted.
func (r *Runtime) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), DeleteTimeout)
	defer cancel()
	return errors.Join(r.cfg.Cgroups.Reap(ctx, nil), r.clear(), r.cfg.Cgroups.Prune())
}

// clear empties the state folder.
func (r *Runtime) clear() error {
	// runsc keeps one empty network namespace for all gofers, bound to a file; two that start at once bind it on top of one another.
	path := filepath.Join(r.cfg.StateDir, "null-netns")
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.RemoveAll(r.cfg.StateDir); err != nil {
		return fmt.Errorf("runsc state: %w", err)
	}
	return os.MkdirAll(r.cfg.StateDir, 0o700)
}
