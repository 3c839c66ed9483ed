// Package process starts processes in a container, owns their standard streams and reaps everything that dies there.
package process

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit/output"
)

const (
	// MaxRunning is how many processes run at a time that were started here.
	MaxRunning = 1024
	// MaxEnded is how many ended processes keep their status and output; older ones are forgotten.
	MaxEnded = 256
	// maxSpent is about how much output is kept of ended processes once it has been read, in bytes: it is the container's memory.
	maxSpent = 4 << 20
	// maxUnread is about how much memory ended processes keep for output that has not been read, in bytes; the rest is on the disk.
	maxUnread = 16 << 20
)

// Table knows the processes that init started. It is safe for concurrent use.
//
// Its lock orders three things that must not overlap: forking a child and noting its PID, reaping, and signalling. So a child is known
// before it can be reaped, and a PID is never signalled after it was reaped, when it may already be another's. Nobody but reap waits
// for children: wait4(-1) would take the status from any other waiter.
type Table struct {
	outputs  *output.Store
	activity Activity

	mu    sync.Mutex
	byID  map[string]*Process
	byPID map[int]*Process // those not reaped yet
	ended []*Process       // oldest first
}

// NewTable returns a table without processes, whose output is kept in a store.
func NewTable(outputs *output.Store) *Table {
	return &Table{outputs: outputs, byID: map[string]*Process{}, byPID: map[int]*Process{}}
}

// Activity counts the processes of clients that run.
func (t *Table) Activity() *Activity { return &t.activity }

// Reap takes the status of every child that has ended, orphans included. It is called after each SIGCHLD, one of which may stand for many.
func (t *Table) Reap() {
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
		if p.spec.ID != "" {
			t.remember(p)
		}
		p.exited(ws, func() { t.over(p) })
	}
}

// remember keeps an ended process, and forgets the oldest.
func (t *Table) remember(p *Process) {
	t.ended = append(t.ended, p)
	if len(t.ended) > MaxEnded {
		oldest := t.ended[0]
		delete(t.byID, oldest.ID())
		go func() { <-oldest.done; oldest.forget() }()
		t.ended = slices.Delete(t.ended, 0, 1)
	}
}

// over is called when the output of an ended process is complete.
func (t *Table) over(p *Process) {
	if p.spec.Client {
		t.activity.End()
	}
	if p.spec.ID == "" {
		p.forget()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim()
}

// trim forgets output of ended processes that has been read, the oldest first, where there is much of it, and puts on the disk what has not.
func (t *Table) trim() {
	kept := 0
	for _, p := range slices.Backward(t.ended) {
		for _, s := range []*output.Stream{p.stdout, p.stderr} {
			if kept += s.Memory(); kept > maxSpent {
				s.Forget()
			}
			if kept > maxUnread {
				s.Park()
			}
		}
	}
}

// Start starts a process and keeps it; without an id it is kept by the caller alone. Errors: fault.Exists, fault.Exhausted, and those of
// Spec.
func (t *Table) Start(s Spec) (*Process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.byID[s.ID]; taken {
		return nil, fault.New(fault.Exists, "process %q: already exists; choose another id", s.ID)
	}
	if len(t.byPID) >= MaxRunning {
		return nil, fault.New(fault.Exhausted, "process %q: %d processes run already; end some first", s.ID, MaxRunning)
	}
	p, err := s.fork(t.outputs)
	if err != nil {
		return nil, err
	}
	t.byPID[p.pid] = p
	if s.ID != "" {
		t.byID[s.ID] = p
	}
	if s.Client {
		t.activity.Begin()
	}
	if s.Timeout > 0 {
		p.expiry = time.AfterFunc(s.Timeout, func() { t.expire(p) })
	}
	return p, nil
}

// expire ends a process whose time is over.
func (t *Table) expire(p *Process) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byPID[p.pid] != p {
		return
	}
	p.timedOut.Store(true)
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // it has ended, and is about to be reaped
}

// Get returns a process by its id. Errors: fault.NotFound.
func (t *Table) Get(id string) (*Process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.byID[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "process %q: no such process, or it ended long ago", id)
	}
	return p, nil
}

// List returns the processes that have ids, oldest first.
func (t *Table) List() []*Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make([]*Process, 0, len(t.byID))
	for _, p := range t.byID {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *Process) int { return a.startedAt.Compare(b.startedAt) })
	return all
}

// Signal signals a process or its group. A process that was reaped is left alone. Errors: fault.Invalid.
func (t *Table) Signal(p *Process, sig syscall.Signal, group bool) error {
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
		return fault.New(fault.Invalid, "process %q: signal %d: %w", p.ID(), int(sig), err)
	}
	return nil
}

// SignalAll signals the group of every process that runs.
func (t *Table) SignalAll(sig syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for pid := range t.byPID {
		_ = syscall.Kill(-pid, sig) // the group has ended: nothing to do
	}
}

// KillAll kills every process group and waits until their leaders are reaped, which is somebody else's to do.
func (t *Table) KillAll() {
	t.SignalAll(syscall.SIGKILL)
	t.mu.Lock()
	left := make([]*Process, 0, len(t.byPID))
	for _, p := range t.byPID {
		left = append(left, p)
	}
	t.mu.Unlock()
	for _, p := range left {
		<-p.reaped
	}
}
