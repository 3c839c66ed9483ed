package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Start calls start, which starts a process with attr, so that the process begins in the groups that Hold returned. The caller's goroutine
// is locked to its thread meanwhile.
func (s *Subtree) Start(groups []string, attr *syscall.SysProcAttr, start func() error) (err error) {
	if s.v2 {
		dir, err := os.Open(groups[0])
		if err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		defer dir.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
		return start()
	}
	// A thread's child is born into its groups, and a thread that moves itself waits for no other.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := homes()
	if err != nil {
		return err
	}
	defer func() {
		for _, g := range home {
			err = errors.Join(err, write(g, "tasks", "0"))
		}
	}()
	for _, g := range groups {
		if err := write(g, "tasks", "0"); err != nil {
			return err
		}
	}
	return start()
}

// homes are the version 1 groups of this thread that Hold's stand in for.
func homes() ([]string, error) {
	data, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		for c := range strings.SplitSeq(controllers, ",") {
			if c == "memory" || c == "cpu" || c == "pids" || c == "cpuacct" {
				out = append(out, filepath.Join(Root, c, path))
			}
		}
	}
	return out, nil
}
