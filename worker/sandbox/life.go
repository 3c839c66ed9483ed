package sandbox

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

// life is what the life of a sandbox holds; only its goroutine touches it, but for the fields that say otherwise.
type life struct {
	*Sandbox
	group *lifecycle.Group // the goroutines below; they end with it
	notes chan note
	over  chan struct{} // closed when notes are no longer heard

	box      *box.Box
	late     *box.Box // one that came up after the end; for the start's goroutine, and for finish after it
	mainUp   bool
	mainOver chan struct{} // closed when the command has ended
	readOver chan struct{} // closed when its output has been handed over
	lost     *time.Timer   // runs while there is no link to init; else nil
	left     atomic.Bool   // the sandbox goes on without this process, or is paused
	paused   bool          // it is kept on the disk
	waiting  chan<- error  // of who wants to hear of that; or nil
}

// note is something that happened to a sandbox.
type note struct {
	kind noteKind
	err  error
	box  *box.Box
	end  container.ProcessEnd
}

type noteKind uint8

const (
	noteBox   noteKind = iota // the box is up, or could not be made
	noteUp                    // it has its identity and its command runs, or could not be started
	noteMain                  // the command has ended, or nothing is known of it
	noteReady                 // the probe has succeeded, or is wrong
)

func newLife(s *Sandbox) *life {
	return &life{
		Sandbox: s, group: lifecycle.NewGroup(context.Background()), notes: make(chan note), over: make(chan struct{}),
		mainOver: make(chan struct{}), readOver: make(chan struct{}),
	}
}

// live is the whole life of a sandbox.
func (s *Sandbox) live() {
	l := newLife(s)
	l.group.Go("start", func(ctx context.Context) error {
		l.start(ctx)
		return nil
	})
	l.conclude(l.run())
}

// resumed is the life of a sandbox that was begun before; running is called when it is known to run.
func (s *Sandbox) resumed(b *box.Box, running func()) {
	l := newLife(s)
	l.box = b
	l.runs()
	running()
	l.conclude(l.run())
}

// conclude ends a life: for good, or for this process.
func (l *life) conclude(end *command.End) {
	switch {
	case end != nil:
		l.finish(*end)
		return
	case l.paused:
		l.rest()
		return
	}
	l.left.Store(true)
	close(l.over)
	l.sidecars.Leave()
	l.warn(l.group.Stop())
	l.box.Leave()
}

func (l *life) note(n note) {
	select {
	case l.notes <- n:
	case <-l.over:
	}
}

// run waits for what ends the sandbox; nil: this process leaves it.
func (l *life) run() *command.End {
	expiry, idle := stoppedTimer(), stoppedTimer()
	defer expiry.Stop()
	defer idle.Stop()
	defer l.linked()
	for {
		arm(expiry, l.deadline())
		arm(idle, l.idleDeadline())
		gone, link := l.watchBox()
		select {
		case n := <-l.notes:
			if end := l.hear(n); end != nil {
				return end
			}
		case <-gone:
			return l.boxGone()
		case <-l.broken():
			return command.NewEnd(command.Lost, l.box.Breakage())
		case <-link:
		case <-l.lostTooLong():
			return command.NewEnd(command.Lost, fmt.Sprintf("its init did not answer for %s", l.host.cfg.LinkTimeout))
		case <-expiry.C:
			if passed(l.deadline()) {
				return command.NewEnd(command.TimedOut, "its timeout has passed")
			}
		case <-idle.C:
			if l.spec.PauseWhenIdle {
				if !l.takeIdle() {
					continue
				}
				return l.pauseIdle()
			} else if passed(l.idleDeadline()) {
				return command.NewEnd(command.IdleTimeout, fmt.Sprintf("nobody has used it for its idle timeout of %s", l.spec.IdleTimeout))
			}
		case end := <-l.stop:
			end.At = time.Now()
			return end
		case r := <-l.pauses:
			if err := l.pause(r.ctx); err != nil {
				r.done <- err
				continue
			}
			l.paused, l.waiting = true, r.done
			return nil
		case <-l.leave:
			if l.Status().State == command.Running {
				return nil
			}
			return command.NewEnd(command.StartFailed, "the worker was stopped while it started")
		case <-l.poke:
		}
	}
}

// passed says whether a deadline has passed; zero is none.
func passed(d time.Time) bool { return !d.IsZero() && !time.Now().Before(d) }

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// arm has a timer fire at a time; zero: not at all.
func arm(t *time.Timer, at time.Time) {
	if at.IsZero() {
		t.Stop()
		return
	}
	// A timer counts monotonic time, a deadline that came over a link has none.
	t.Reset(max(0, time.Until(at)))
}

// watchBox returns what is closed when the box has ended, and when its link changes; nil while there is no box. It begins and ends the wait
// for a link.
func (l *life) watchBox() (gone, link <-chan struct{}) {
	if l.box == nil {
		return nil, nil
	}
	g, changed := l.box.Link()
	switch {
	case g != nil || l.isFrozen():
		l.linked()
	case l.lost == nil:
		l.lost = time.NewTimer(l.host.cfg.LinkTimeout)
	}
	return l.box.Done(), changed
}

func (l *life) isFrozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frozen > 0
}

func (l *life) linked() {
	if l.lost != nil {
		l.lost.Stop()
		l.lost = nil
	}
}

func (l *life) lostTooLong() <-chan time.Time {
	if l.lost == nil {
		return nil
	}
	return l.lost.C
}

// hear takes a note; it returns the sandbox's end if that is what it means.
func (l *life) hear(n note) *command.End {
	var end *command.End
	switch n.kind {
	case noteBox:
		if n.err == nil {
			l.box = n.box
			return nil
		}
		end = command.NewEnd(command.StartFailed, "it could not be started: "+n.err.Error())
	case noteUp:
		if n.err == nil {
			l.runs()
			return nil
		}
		end = l.notUp(n.err)
	case noteMain:
		end = l.mainEnded(n.end, n.err)
	case noteReady:
		if n.err == nil {
			l.update(func() { l.ready = true })
			return nil
		}
		end = command.NewEnd(command.StartFailed, "its readiness probe can't be asked: "+n.err.Error())
	}
	return end
}

// runs says that the sandbox runs, and follows it from now on.
func (l *life) runs() {
	l.mainUp = len(l.spec.Argv) > 0
	if l.mainUp {
		l.host.cfg.Logs.Keep(container.Source{ID: l.spec.ID, Journal: l.journal, Last: l.journal.Last()})
	}
	l.update(func() {
		l.state, l.ready = command.Running, l.ready || l.spec.Probe == nil
		l.settleIdle()
	})
	l.group.Go("activity", l.followActivity)
	if l.mainUp {
		l.group.Go("command", l.followMain)
		l.host.reading.Go(func() {
			defer close(l.readOver)
			command.Copy(l.box, command.CopyParams{ID: l.spec.ID, Sink: l.host.cfg.Logs, Journal: l.journal, Left: l.left.Load})
		})
	}
	if !l.Status().Ready {
		l.group.Go("probe", l.followProbe)
	}
}

// notUp is the end of a sandbox whose box is there and whose command is not.
func (l *life) notUp(err error) *command.End {
	if errors.Is(err, fault.Unavailable) {
		select {
		case <-l.box.Done():
			return l.boxGone()
		default:
		}
	}
	return command.NewEnd(command.StartFailed, "its command could not be started: "+err.Error())
}

// deathGrace is how long the end of a box may take of which a part has gone.
const deathGrace = 2 * time.Second

// mainEnded is the end of a sandbox whose command has ended, or of which nothing is known any more.
func (l *life) mainEnded(end container.ProcessEnd, err error) *command.End {
	if err != nil {
		timer := time.NewTimer(deathGrace)
		defer timer.Stop()
		select {
		case <-l.box.Done():
			return l.boxGone()
		case <-timer.C:
		}
		return command.NewEnd(command.Lost, "nothing is known of its command: "+err.Error())
	}
	// The kernel may have picked a process of the sandbox instead of the sandbox itself.
	if end.Signal == syscall.SIGKILL {
		if e := l.usedUp(l.box.Why().UsedUp); e != nil {
			return e
		}
	}
	return command.EndOf(end)
}

// boxGone is the end of a sandbox whose box has ended with no report from init.
func (l *life) boxGone() *command.End { return l.endOf(l.box.Why()) }

// endOf is the end of a sandbox for what is known of that of its box.
func (s *Sandbox) endOf(why box.Cause) *command.End {
	if e := s.usedUp(why.UsedUp); e != nil {
		return e
	}
	message := "its gVisor sandbox ended without a report"
	if why.Message != "" {
		message += ": " + why.Message
	}
	return command.NewEnd(command.Lost, message)
}

// usedUp is the end of a sandbox that has run into a limit, nil for none.
func (s *Sandbox) usedUp(what container.Resource) *command.End {
	switch what {
	case container.Nothing:
	case container.Processes:
		return command.NewEnd(command.Lost, "it started more processes and threads than it may have; start fewer at a time")
	case container.WorkerMemory:
		return command.NewEnd(command.OutOfMemory, fmt.Sprintf("it ran out of memory: all containers of its worker together used up the %d MiB that it offers, and"+
			" this one used most; set its memory to what it needs, so that it is placed where that is free", s.host.cfg.MemoryMiB))
	case container.OwnMemory:
		return command.NewEnd(command.OutOfMemory, fmt.Sprintf("it ran out of memory: limit %d MiB; raise its memory", s.spec.MemoryLimitMiB))
	}
	return nil
}

const (
	// outputGrace is for what a dead command has written, as long as the sink takes it.
	outputGrace = time.Second
	// killGrace is how long init may take to kill the command, so that its last output is read.
	killGrace = time.Second
)

// finish gives everything back and says how it ended.
func (l *life) finish(end command.End) {
	close(l.over)
	l.update(func() { l.ending = &end }) // from now on the next process would only give back
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.sidecars.End(&end)
	}()
	if l.mainUp {
		l.lastOutput()
	}
	<-ended
	defer l.host.turns.ended(context.Background())()
	if l.box != nil {
		l.warn(l.box.Kill())
	}
	l.warn(l.group.Stop())
	c, cancel := context.WithTimeout(context.Background(), box.DeleteTimeout)
	defer cancel()
	for _, b := range []*box.Box{l.box, l.late} {
		if b != nil {
			l.warn(b.Delete(c))
		}
	}
	if !l.mainUp {
		l.host.cfg.Logs.EOF(l.spec.ID)
	}
	l.update(func() {
		l.state, l.end, l.ending, l.idleSince, l.Sandbox.box = command.Ended, &end, nil, time.Time{}, nil
	})
}

// lastOutput kills the command with what is in its group and takes what it had written.
func (l *life) lastOutput() {
	if g, _ := l.box.Link(); g != nil {
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
	case <-l.box.Done():
	case <-timer.C:
	}
}

func (l *life) warn(err error) {
	if err != nil {
		l.host.cfg.Log.Error("sandbox left something behind", "sandbox", l.spec.ID, "error", err)
	}
}
