// Package stepvolume gives steps of image builds their volumes. A Desk in the builder knows which step may have which, by tickets that go through
// BuildKit as secrets do; the runtime, in a process of its own under buildkitd, asks for them with Ask when it starts a step, and holds
// them by its connection: its end, however it comes, ends the step's use of them.
package stepvolume

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
)

const (
	// greeting is how long a runtime may take to say what it wants.
	greeting = 10 * time.Second
	// maxQuestion is how many bytes that has at most.
	maxQuestion = 4096
	// mountTimeout bounds mounting the volumes of a step.
	mountTimeout = 2 * time.Minute
	// endTimeout bounds the commit at a step's end; stopTimeout, that where the builder ends.
	endTimeout, stopTimeout = 3 * time.Minute, 5 * time.Second
	// ticketLength is in characters.
	ticketLength = 32
)

// question is what a runtime asks.
type question struct {
	Ticket string `json:"ticket"`
}

// answer is what it is told: first the binds or an error, then perhaps that they are lost, and in the end whether all is committed.
type answer struct {
	Binds []build.Bind `json:"binds,omitempty"`
	Lost  bool         `json:"lost,omitempty"`
	Kind  string       `json:"kind,omitempty"` // of an error, by fault
	Err   string       `json:"error,omitempty"`
}

func answerOf(err error) answer {
	a := answer{Err: err.Error()}
	if k := fault.KindOf(err); k != nil {
		a.Kind = k.Error()
	}
	return a
}

// fault is the error of an answer, or nil.
func (a answer) fault() error {
	if a.Err == "" {
		return nil
	}
	k := fault.Named(a.Kind)
	if k == nil {
		k = fault.Unavailable
	}
	return fault.New(k, "%s", a.Err)
}

// Desk hands out volumes to the runtimes of steps. It is safe for concurrent use.
type Desk struct {
	socket  string
	volumes build.Volumes
	log     *slog.Logger

	listener *net.UnixListener

	mu      sync.Mutex
	tickets map[string][]build.Volume
}

// NewDesk describes a desk with a socket at a path in a folder that is nobody else's.
func NewDesk(socket string, volumes build.Volumes, log *slog.Logger) *Desk {
	return &Desk{socket: socket, volumes: volumes, log: log, tickets: map[string][]build.Volume{}}
}

// Admit returns a ticket for volumes, which is good until the function that it returns is called as well.
func (d *Desk) Admit(volumes []build.Volume) (ticket string, revoke func()) {
	ticket = ident.Random(ticketLength)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tickets[ticket] = volumes
	return ticket, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.tickets, ticket)
	}
}

// Open settles what steps of an earlier builder have left, and has runtimes be able to ask. Run has to follow.
func (d *Desk) Open(ctx context.Context) (err error) {
	if err := d.volumes.Reap(ctx); err != nil {
		d.log.Warn("what steps of an earlier run had written to volumes is not settled yet", "error", err)
	}
	if err := os.MkdirAll(filepath.Dir(d.socket), 0o700); err != nil {
		return err
	}
	if err := os.Remove(d.socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if d.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: d.socket, Net: "unix"}); err != nil {
		return err
	}
	if err := os.Chmod(d.socket, 0o600); err != nil {
		return errors.Join(err, d.listener.Close())
	}
	return nil
}

// Run serves until ctx ends, and then waits for the ends of steps, which end with buildkitd.
func (d *Desk) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = d.listener.Close() }) // which is heard of below
	defer stop()
	var serving sync.WaitGroup
	defer serving.Wait()
	for {
		conn, err := d.listener.AcceptUnix()
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return errors.Join(err, d.listener.Close())
		}
		serving.Go(func() { d.serve(ctx, conn) })
	}
}

// serve serves the runtime of one step.
func (d *Desk) serve(ctx context.Context, conn *net.UnixConn) {
	defer func() { _ = conn.Close() }() // all is said
	out := json.NewEncoder(conn)
	id := ident.New(ident.BuildStep)
	binds, err := d.mount(ctx, conn, id)
	if err != nil {
		_ = out.Encode(answerOf(err)) // a runtime that has gone needs no answer
		return
	}
	if err := out.Encode(answer{Binds: binds}); err == nil {
		d.await(conn, out, id)
	}
	if err := d.end(ctx, id); err != nil {
		d.log.Warn("what a step has written to volumes is not committed", "step", id, "error", err)
		_ = out.Encode(answerOf(err)) // as above
		return
	}
	_ = out.Encode(answer{}) // as above
}

// mount mounts what a runtime asks for.
func (d *Desk) mount(ctx context.Context, conn *net.UnixConn, id string) ([]build.Bind, error) {
	if err := conn.SetReadDeadline(time.Now().Add(greeting)); err != nil {
		return nil, err
	}
	var q question
	if err := json.NewDecoder(io.LimitReader(conn, maxQuestion)).Decode(&q); err != nil {
		return nil, fault.New(fault.Invalid, "volumes of a build step: %w", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	d.mu.Lock()
	volumes, known := d.tickets[q.Ticket]
	d.mu.Unlock()
	if !known {
		return nil, fault.New(fault.Denied, "the step has no volumes, or its build has ended")
	}
	ctx, cancel := context.WithTimeout(ctx, mountTimeout)
	defer cancel()
	return d.volumes.Mount(ctx, id, volumes)
}

// await returns when the runtime says that its step has ended, or has gone itself.
func (d *Desk) await(conn *net.UnixConn, out *json.Encoder, id string) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn) // whichever way it ends
	}()
	select {
	case <-ended:
		return
	case <-d.volumes.Lost(id):
		_ = out.Encode(answer{Lost: true}) // a runtime that has gone ends below
	}
	<-ended
}

// end commits what a step has written, in a short time where the builder ends.
func (d *Desk) end(ctx context.Context, id string) error {
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cancel) })()
	return d.volumes.End(c, id)
}
