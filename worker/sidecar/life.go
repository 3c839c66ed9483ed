package sidecar

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/box"
	"github.com/skerry-dev/skerry/worker/command"
	"github.com/skerry-dev/skerry/worker/container"
)

const (
	// startTimeout is how long its container may take to start.
	startTimeout = 2 * time.Minute
	// Size of the command's terminal until somebody says another.
	terminalRows = 24
	terminalCols = 80
	// killGrace is how long init may take to kill the command, and outputGrace is for what that has written, as long as the sink takes it.
	killGrace   = time.Second
	outputGrace = time.Second
)

// life is what the life of a sidecar holds; only its goroutine touches it, but for the fields that say otherwise.
type life struct {
	*Sidecar
	box      *box.Box
	inner    *box.Inner
	group    *lifecycle.Group  // what follows the container; it ends with the life
	mainUp   bool              // its command runs
	reading  bool              // its output is handed over
	ended    chan *command.End // holds the end of its command
	readOver chan struct{}     // closed when its output has been handed over
	left     atomic.Bool       // it goes on without this process
}

func newLife(c *Sidecar, b *box.Box) *life {
	return &life{
		Sidecar: c, box: b, group: lifecycle.NewGroup(context.Background()), ended: make(chan *command.End, 1), readOver: make(chan struct{}),
	}
}

// live is the whole life of a sidecar.
func (c *Sidecar) live(b *box.Box) {
	l := newLife(c, b)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	started := make(chan error, 1)
	go func() { started <- l.start(ctx) }()
	var end *command.End
	select {
	case err := <-started:
		end = startEnd(err)
	case end = <-c.stop:
		cancel()
		<-started //nolint:errcheck // it was given up
	case <-c.set.leave: // the next process begins with what is recorded, and that it starts
		cancel()
		<-started //nolint:errcheck // it was given up
		end = command.NewEnd(command.StartFailed, "the worker was stopped while it started")
	}
	cancel()
	if end == nil {
		end = l.run()
	}
	l.conclude(end)
}

func startEnd(err error) *command.End {
	if err == nil {
		return nil
	}
	return command.NewEnd(command.StartFailed, "it could not be started: "+err.Error())
}

// start makes the container, gives it its place and starts the command.
func (l *life) start(ctx context.Context) (err error) {
	base, err := l.set.cfg.Base()
	if err != nil {
		return err
	}
	s := &l.spec
	if l.inner, err = l.box.Add(ctx, s.inner()); err != nil {
		return err
	}
	id := box.Identity{ContainerID: s.ID, Env: s.environment(base.Env), Workdir: s.workdir(), Certificates: base.Certificates}
	if err := command.OnLink(ctx, l.inner, func(g box.Guest) error { return g.Configure(ctx, id) }); err != nil || len(s.Argv) == 0 {
		return err
	}
	var terminal *container.Terminal
	if s.Terminal {
		terminal = &container.Terminal{Rows: terminalRows, Cols: terminalCols}
	}
	err = command.OnLink(ctx, l.inner, func(g box.Guest) error { return g.StartMain(ctx, s.Argv, terminal) })
	l.mainUp = err == nil
	return err
}

// resume is the life of a sidecar that was begun before.
func (c *Sidecar) resume(b *box.Box) {
	state, _ := c.status()
	inner, err := b.Inner(c.spec.ID)
	l := newLife(c, b)
	if state.State == command.Running && err == nil {
		l.inner, l.mainUp = inner, len(c.spec.Argv) > 0
		l.conclude(l.run())
		return
	}
	// Nobody's word is needed any more for what is left of it to go.
	ctx, cancel := context.WithTimeout(context.Background(), box.DeleteTimeout)
	defer cancel()
	switch state.State {
	case command.Starting:
		c.set.warn(c, b.Clear(ctx, c.spec.inner()))
		l.conclude(command.NewEnd(command.StartFailed, "the worker was restarted while it started"))
	case command.Running:
		l.conclude(command.NewEnd(command.Lost, "it did not outlive the worker's last process: "+err.Error()))
	case command.Ended, command.Paused:
		if err == nil {
			c.set.warn(c, inner.Delete(ctx))
		}
	}
}

// run follows what runs until it is to end; nil: this process leaves it.
func (l *life) run() *command.End {
	l.set.cfg.Logs.Keep(l.source())
	l.become(command.Running, nil, l.inner)
	l.reading = l.mainUp
	l.group.Go("activity", l.followActivity)
	if l.mainUp {
		l.group.Go("command", l.followMain)
		l.set.cfg.Reading.Go(func() {
			defer close(l.readOver)
			command.Copy(l.inner, command.CopyParams{ID: l.spec.ID, Sink: l.set.cfg.Logs, Journal: l.journal, Left: l.left.Load})
		})
	}
	var lost *time.Timer
	for {
		g, changed := l.inner.Link()
		switch {
		case g != nil && lost != nil:
			lost.Stop()
			lost = nil
		case g == nil && lost == nil:
			lost = time.NewTimer(l.set.cfg.LinkTimeout)
			defer lost.Stop()
		}
		var tooLong <-chan time.Time
		if lost != nil {
			tooLong = lost.C
		}
		select {
		case end := <-l.ended:
			return end
		case <-l.inner.Done():
			return l.gone()
		case <-changed:
		case <-tooLong:
			return command.NewEnd(command.Lost, fmt.Sprintf("its init did not answer for %s", l.set.cfg.LinkTimeout))
		case end := <-l.stop:
			end.At = time.Now()
			return end
		case <-l.set.leave:
			return nil
		}
	}
}

// source is the sidecar as the log sink knows it.
func (c *Sidecar) source() container.Source {
	return container.Source{ID: c.spec.ID, Sandbox: c.set.cfg.SandboxID, Journal: c.journal, Last: c.journal.Last()}
}

// gone is the end of a sidecar whose init has ended; that of the command may have been told a moment before.
func (l *life) gone() *command.End {
	select {
	case end := <-l.ended:
		return end
	case <-l.box.Done():
		return command.NewEnd(command.Lost, "its sandbox has ended")
	default:
		return command.NewEnd(command.Lost, "its init ended without a report")
	}
}

// followMain waits for the command's end.
func (l *life) followMain(ctx context.Context) error {
	var end container.ProcessEnd
	err := command.OnLink(ctx, l.inner, func(g box.Guest) (err error) {
		end, err = g.Wait(ctx, box.MainProcess)
		return err
	})
	switch {
	case err == nil:
		l.ended <- command.EndOf(end)
	case ctx.Err() == nil && !errors.Is(err, fault.Unavailable): // else the container has ended, which says itself
		l.ended <- command.NewEnd(command.Lost, "nothing is known of its command: "+err.Error())
	}
	return nil
}

// followActivity counts the processes of clients.
func (l *life) followActivity(ctx context.Context) error {
	for {
		err := command.OnLink(ctx, l.inner, func(g box.Guest) error {
			return g.WatchActivity(ctx, func(processes int) {
				l.mu.Lock()
				l.processes = processes
				l.mu.Unlock()
				l.set.changed()
			})
		})
		if err != nil {
			return nil //nolint:nilerr // the container has ended; what else it says, it is not counted by
		}
	}
}

// conclude ends a life: for good, or for this process.
func (l *life) conclude(end *command.End) {
	if end == nil {
		l.left.Store(true)
		l.set.warn(l.Sidecar, l.group.Stop())
		return
	}
	l.mu.Lock()
	l.ending = end
	l.mu.Unlock()
	l.set.warn(l.Sidecar, l.set.cfg.Save())
	if l.reading {
		l.lastOutput()
	}
	l.set.warn(l.Sidecar, l.group.Stop())
	if l.inner != nil {
		c, cancel := context.WithTimeout(context.Background(), box.DeleteTimeout)
		defer cancel()
		l.set.warn(l.Sidecar, l.inner.Delete(c))
	}
	if !l.reading {
		l.set.cfg.Logs.Keep(l.source())
		l.set.cfg.Logs.EOF(l.spec.ID)
	}
	l.become(command.Ended, end, nil)
}

// lastOutput kills the command with what is in its group and takes what it had written.
func (l *life) lastOutput() {
	if g, _ := l.inner.Link(); g != nil {
		c, cancel := context.WithTimeout(context.Background(), killGrace)
		defer cancel()
		if err := g.Signal(c, box.MainProcess, syscall.SIGKILL, true); err != nil {
			return // it is ending, and its output with it
		}
	}
	timer := time.NewTimer(outputGrace)
	defer timer.Stop()
	select {
	case <-l.readOver:
	case <-l.inner.Done():
	case <-timer.C:
	}
}
