// Package cgroup finds, reads and removes the control groups of one instance's sandboxes, in version 1 and 2 hierarchies. The limits of
// each are set by the sandbox runtime or by Hold; this package bounds all of them together, and clears away what is left.
package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/ident"
)

// Root is where control groups are mounted.
const Root = "/sys/fs/cgroup"

// Subtree is the part of the hierarchies below one name, with a group per container. It is safe for concurrent use.
type Subtree struct {
	name string
	v2   bool
	// roots are the folders of Name in every hierarchy.
	roots []string
	// bounding are the version 1 hierarchies that bound and count containers: memory, cpu and pids, and cpuacct where there is one.
	bounding []string
}

// Open finds the hierarchies. Name is one path element, such as "skerry_1a2b3c"; nothing is made yet.
func Open(name string) (*Subtree, error) {
	s := &Subtree{name: name}
	if _, err := os.Stat(filepath.Join(Root, "cgroup.controllers")); err == nil {
		s.v2 = true
		s.roots = []string{filepath.Join(Root, name)}
		return s, nil
	}
	entries, err := os.ReadDir(Root)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w; mount the cgroup file systems", err)
	}
	memory := false
	s.bounding = []string{"memory", "cpu", "pids"}
	if _, err := os.Stat(filepath.Join(Root, "cpuacct")); err == nil {
		s.bounding = append(s.bounding, "cpuacct")
	}
	for _, e := range entries {
		if e.Type()&fs.ModeSymlink != 0 || !e.IsDir() {
			continue
		}
		memory = memory || e.Name() == "memory"
		s.roots = append(s.roots, filepath.Join(Root, e.Name(), name))
	}
	if !memory {
		return nil, fmt.Errorf("cgroup: no memory controller below %s; limits could not be held", Root)
	}
	return s, nil
}

// Path returns the group of a container as an OCI spec names it.
func (s *Subtree) Path(id string) string { return "/" + s.name + "/" + id }

// OOM is what the kernel did to a group for memory.
type OOM struct {
	Kills uint64 // processes that it killed
	// Shared says that the group's own limit was not reached: all groups of the instance together had used up theirs.
	Shared bool
}

// OOM returns whether the kernel has killed processes of the container's group. A group that is gone counts as none.
func (s *Subtree) OOM(id string) (OOM, error) {
	group := filepath.Join(Root, "memory", s.name, id)
	kills, reached, key := filepath.Join(group, "memory.oom_control"), filepath.Join(group, "memory.failcnt"), ""
	if s.v2 {
		kills = filepath.Join(Root, s.name, id, "memory.events")
		reached, key = kills, "oom "
	}
	n, err := counter(kills, "oom_kill ")
	if err != nil || n == 0 {
		return OOM{}, err
	}
	own, err := counter(reached, key)
	return OOM{Kills: n, Shared: own == 0}, err
}

// ForgetMisses has what follows count as the first time that the group reaches its own memory limit, where it has been near it without a
// kill. Version 2 counts no such times.
func (s *Subtree) ForgetMisses(id string) error {
	if s.v2 {
		return nil
	}
	return write(filepath.Join(Root, "memory", s.name, id), "memory.failcnt", "0")
}

// RefusedForks returns how often the container's group was refused a process or thread for its limit. A group that is gone counts as none.
func (s *Subtree) RefusedForks(id string) (uint64, error) {
	if s.v2 {
		return counter(filepath.Join(Root, s.name, id, "pids.events"), "max ")
	}
	return counter(filepath.Join(Root, "pids", s.name, id, "pids.events"), "max ")
}

// counter returns the number after a prefix in a file; 0 if either is not there.
func counter(path, prefix string) (uint64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if n, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			return strconv.ParseUint(n, 10, 64)
		}
	}
	return 0, lines.Err()
}

// Remove kills what still runs in the container's groups, or in those below them, and removes them. Groups that are not there are no error.
func (s *Subtree) Remove(ctx context.Context, id string) error {
	errs := []error{s.Kill(ctx, id)}
	for _, root := range s.roots {
		errs = append(errs, remove(filepath.Join(root, id)))
	}
	return errors.Join(errs...)
}

// Kill ends all processes of the container's groups and of those below them, and waits for that. Groups that are not there are no error.
func (s *Subtree) Kill(ctx context.Context, id string) error {
	var errs []error
	for _, root := range s.roots {
		errs = append(errs, killTree(ctx, filepath.Join(root, id)))
	}
	return errors.Join(errs...)
}

func killTree(ctx context.Context, group string) error {
	errs := []error{killAll(ctx, group)}
	entries, err := os.ReadDir(group)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, fmt.Errorf("cgroup: %w", err))
	}
	for _, e := range entries {
		if e.IsDir() {
			errs = append(errs, killTree(ctx, filepath.Join(group, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// Processes lists what runs in the container's group and in those below it. A group that is gone has none.
func (s *Subtree) Processes(id string) ([]int, error) {
	group := filepath.Join(Root, "pids", s.name, id)
	if s.v2 {
		group = filepath.Join(Root, s.name, id)
	}
	var pids []int
	err := filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return err
		}
		data, err := os.ReadFile(path)
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return pids, nil
	}
	return pids, err
}

// reaped are the kinds of things that have groups of their own here.
var reaped = []ident.Kind{ident.Container, ident.Sandbox, ident.Box}

// Reap kills what runs in containers' and sandboxes' groups and removes them, except those in keep. Other parts of the instance have
// groups beside them, which are left alone, as is the subtree itself: they may be about to make others, or have limited it.
func (s *Subtree) Reap(ctx context.Context, keep map[string]bool) error {
	var errs []error
	for _, root := range s.roots {
		groups, err := os.ReadDir(root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, g := range groups {
			kind, _, _ := strings.Cut(g.Name(), "-")
			if !g.IsDir() || !slices.Contains(reaped, ident.Kind(kind)) || keep[g.Name()] {
				continue
			}
			path := filepath.Join(root, g.Name())
			errs = append(errs, killAll(ctx, path), remove(path))
		}
	}
	return errors.Join(errs...)
}

// Prune removes the subtree itself where no group is left in it. It is for the end of a part of the instance, not for its start: the limits of
// the subtree go with it.
func (s *Subtree) Prune() error {
	var errs []error
	for _, root := range s.roots {
		if err := unix.Rmdir(root); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			errs = append(errs, fmt.Errorf("cgroup %s: %w", root, err))
		}
	}
	return errors.Join(errs...)
}

// Close removes the subtree itself, in which nothing runs any more. The next container makes it again.
func (s *Subtree) Close() error {
	var errs []error
	for _, root := range s.roots {
		errs = append(errs, remove(root))
	}
	return errors.Join(errs...)
}

// killAll kills all processes of a group and waits until they have ended.
func killAll(ctx context.Context, group string) error {
	for {
		data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) { // gone, or going while it is read
			return nil
		}
		if err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		pids := strings.Fields(string(data))
		if len(pids) == 0 {
			return nil
		}
		for _, p := range pids {
			pid, err := strconv.Atoi(p)
			if err != nil {
				return fmt.Errorf("cgroup %s: %w", group, err)
			}
			if err := kill(ctx, pid); err != nil {
				return fmt.Errorf("cgroup %s: %w", group, err)
			}
		}
	}
}

// kill ends one process and waits for that.
func kill(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	wait := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
	for {
		limit := 10 * time.Second
		if end, ok := ctx.Deadline(); ok {
			limit = max(0, time.Until(end))
		}
		n, err := unix.Poll(wait, int(limit.Milliseconds()))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("process %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("process %d does not end after SIGKILL: %w", pid, context.DeadlineExceeded)
		}
		return nil
	}
}

// remove removes a group that is there, with the groups below it.
func remove(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := remove(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cgroup %s: %w", path, err)
	}
	return nil
}
