package gvisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/pidfd"
)

// pidName is the file with the sandbox's process, in the folder that it was started with.
const pidName = "sandbox.pid"

// Open finds a sandbox that this process or an earlier one of the instance has started with the folder dir, and which still runs. Errors:
// fault.NotFound if it has ended; what is left of it goes by Reap or Remove.
func (r *Runtime) Open(id, dir string) (*Sandbox, error) {
	s, err := r.open(id, dir)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", id, err)
	}
	// The number in the file may be another process's by now. The process was opened before it is looked at, so the answer is about it.
	ours, err := r.isSentry(s.pid, id)
	if err != nil {
		return nil, fmt.Errorf("sandbox %q: %w", id, err)
	}
	if !ours || !s.process.Running() {
		s.process.Release()
		return nil, fault.New(fault.NotFound, "sandbox %q: process %d has ended", id, s.pid)
	}
	if err := s.unhalt(); err != nil {
		s.process.Release()
		return nil, fmt.Errorf("sandbox %q: %w", id, err)
	}
	return s, nil
}

func (r *Runtime) open(id, dir string) (*Sandbox, error) {
	text, err := os.ReadFile(filepath.Join(dir, pidName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "it was not started")
	}
	if err != nil {
		return nil, fmt.Errorf("runsc: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("runsc: pid file: %w", err)
	}
	process, err := pidfd.Watch(pid)
	if err != nil {
		return nil, err
	}
	return &Sandbox{place: place{r, id, id, mainName}, dir: dir, pid: pid, process: process}, nil
}

// isSentry tells whether a process is the sentry of a sandbox of this instance. One that has ended is not.
func (r *Runtime) isSentry(pid int, id string) (bool, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("runsc: %w", err)
	}
	words := strings.Split(strings.TrimRight(string(data), "\x00"), "\x00")
	root := false
	for _, w := range words {
		root = root || w == "--root="+r.cfg.StateDir
	}
	return root && words[len(words)-1] == id, nil
}

// Remains tells what a sandbox that has ended had run out of, and what the sentry wrote when it crashed, or "". It must not have been reaped.
func (r *Runtime) Remains(id, dir string) (used container.Resource, crash string, err error) {
	used, err = r.usedUp(id)
	return used, fatalLines(panicLog(dir)), err
}
