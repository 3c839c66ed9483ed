package guestinit

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// maxEnded is how many ended processes keep their status and output; older ones are forgotten.
	maxEnded = 64
	// maxSpent is about how much output is kept of ended processes once it has been read, in bytes: it is the container's memory.
	maxSpent = 4 << 20
)

// table knows the processes that init started.
//
// Its lock orders three things that must not overlap: forking a child and noting its PID, reaping, and signalling. So a child is known
// before it can be reaped, and a PID is never signalled after it was reaped, when it may already be another's. Nobody but reap waits
// for children: wait4(-1) would take the status from any other waiter.
type table struct {
	mu    sync.Mutex
	byID  map[string]*process
	byPID map[int]*process // those not reaped yet
	ended []string         // oldest first
}

func newTable() *table {
	return &table{byID: map[string]*process{}, byPID: map[int]*process{}}
}

// watchSignals reaps on SIGCHLD and passes SIGTERM and SIGINT on as SIGTERM to every process group.
func (t *table) watchSignals(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-signals:
			if s == unix.SIGCHLD {
				t.reap()
			} else {
				t.signalAll(unix.SIGTERM)
			}
		}
	}
}

// reap takes the status of every child that has ended, orphans included. One SIGCHLD may stand for many.
func (t *table) reap() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return // ECHILD: no children; 0: none has ended
		}
		p, known := t.byPID[pid]
		if !known {
			continue
		}
		delete(t.byPID, pid)
		// What the process left in its group ends with it. PIDs are handed out in rising order, so nobody else has this one yet.
		_ = syscall.Kill(-pid, syscall.SIGKILL) // an empty group is no error
		t.ended = append(t.ended, p.id)
		if len(t.ended) > maxEnded {
			delete(t.byID, t.ended[0])
			t.ended = slices.Delete(t.ended, 0, 1)
		}
		t.trim()
		p.exited(ws)
	}
}

// trim forgets output of ended processes that has been read, the oldest first, where there is much of it.
func (t *table) trim() {
	kept := 0
	for _, id := range slices.Backward(t.ended) {
		for _, r := range []*ring{t.byID[id].stdout, t.byID[id].stderr} {
			if kept += r.size(); kept > maxSpent {
				r.forget()
			}
		}
	}
}

// start starts a process and keeps it. Errors: fault.Exists and those of spec.fork.
func (t *table) start(s spec) (*process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.byID[s.id]; taken {
		return nil, fault.New(fault.Exists, "process %q: already exists; choose another id", s.id)
	}
	p, err := s.fork()
	if err != nil {
		return nil, err
	}
	t.byID[p.id], t.byPID[p.pid] = p, p
	return p, nil
}

// get returns a process by its id. Errors: fault.NotFound.
func (t *table) get(id string) (*process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.byID[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "process %q: no such process, or it ended long ago", id)
	}
	return p, nil
}

// signal signals a process or its group. A process that was reaped is left alone. Errors: fault.NotFound, fault.Invalid.
func (t *table) signal(id string, sig syscall.Signal, group bool) error {
	p, err := t.get(id)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPID[p.pid] != p {
		return nil
	}
	pid := p.pid
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fault.New(fault.Invalid, "process %q: signal %d: %w", id, int(sig), err)
	}
	return nil
}

func (t *table) signalAll(sig syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for pid := range t.byPID {
		_ = syscall.Kill(-pid, sig) // the group has ended: nothing to do
	}
}

// killAll kills every process group and waits until their leaders are reaped.
func (t *table) killAll() {
	t.signalAll(syscall.SIGKILL)
	t.mu.Lock()
	left := make([]*process, 0, len(t.byPID))
	for _, p := range t.byPID {
		left = append(left, p)
	}
	t.mu.Unlock()
	for _, p := range left {
		<-p.reaped
	}
}
