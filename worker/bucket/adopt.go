package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network"
	"github.com/skerry-dev/skerry/worker/pidfd"
)

// Adopt takes over a mount of an earlier process of the worker that is still served. It is called before the network runs. Others don't join
// such a mount: with which credentials it was made nobody knows any more. Errors: fault.NotFound where it is gone.
func (s *Store) Adopt(_ context.Context, id string) (*container.MountedBucket, error) {
	if err := ident.Check(ident.Bucket, id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mounts[id]
	if m == nil {
		m = s.newMount(id)
		if err := s.adopt(m); err != nil {
			return nil, fmt.Errorf("mount %q of a bucket: %w", id, err)
		}
		s.mounts[id] = m
		close(m.started)
		s.running.Go(func() { s.watch(m) })
	}
	m.refs++
	return s.public(m), nil
}

func (s *Store) adopt(m *mount) error {
	r, err := m.find()
	if err != nil {
		return err
	}
	if m.process == nil {
		return fault.New(fault.NotFound, "its process has ended")
	}
	if r.Endpoint == nil {
		return nil
	}
	a := s.cfg.Network.Adopt([]network.Kept{{Endpoint: *r.Endpoint, ContainerID: m.id}})[0]
	m.endpoint = a.Endpoint
	return a.Err
}

// find reads what the run folder has of a mount. Its process is nil if it has ended.
func (m *mount) find() (r record, err error) {
	data, err := os.ReadFile(m.record())
	if errors.Is(err, fs.ErrNotExist) {
		return r, fault.New(fault.NotFound, "there is no record of it")
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fault.New(fault.NotFound, "its record is damaged: %w", err)
	}
	p, err := pidfd.Watch(r.Process)
	if err != nil {
		return r, err
	}
	// Only now: a number that is watched can't be another's.
	if began, err := processBegan(r.Process); err == nil && began == r.Began {
		m.process = p
	} else {
		p.Release() // it has ended, and its number may be another's
	}
	return r, nil
}

// Reap takes down what an earlier process left and nobody has adopted. It is called when no container uses it any more. Endpoints are the
// network's to remove.
func (s *Store) Reap() error {
	var errs []error
	left := map[string]bool{}
	for _, dir := range []string{s.cfg.Dir, s.cfg.CacheDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			left[e.Name()] = true
		}
	}
	for id := range left {
		s.mu.Lock()
		used := s.mounts[id] != nil
		s.mu.Unlock()
		if used {
			continue
		}
		m := s.newMount(filepath.Base(id))
		_, _ = m.find() // what can't be read has no process that could be found
		errs = append(errs, s.end(m))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("mounts of buckets: %w", err)
	}
	return nil
}

// statFields are the fields of /proc/<pid>/stat after the name, which may have spaces.
func statFields(text []byte) []string {
	_, after, _ := bytes.Cut(text, []byte(") "))
	if i := bytes.LastIndex(text, []byte(") ")); i >= 0 {
		after = text[i+2:]
	}
	return strings.Fields(string(after))
}

// within calls f on a thread that is in an endpoint's network namespace, so that a process that it starts is; without an endpoint, in the host's.
func within(e *container.Endpoint, f func() error) error {
	if e == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() { done <- inNamespace(e.NetnsPath, f) }()
	return <-done
}

// inNamespace is the body of a goroutine of its own: where its thread can't go back to its namespace it stays locked, and the thread ends with
// the goroutine.
func inNamespace(path string, f func() error) error {
	runtime.LockOSThread()
	origin, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer origin.Close()
	there, err := os.Open(path)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	err = f()
	if back := unix.Setns(int(origin.Fd()), unix.CLONE_NEWNET); back != nil {
		return errors.Join(err, fmt.Errorf("go back to the host's network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}
