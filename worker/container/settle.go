package container

import (
	"context"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/payload"
)

// drain goes on hearing notes until a part has ended. It returns a start failure that it heard.
func (l *life) drain(part <-chan struct{}, limit time.Duration) (failure note, ok bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case n := <-l.notes:
			switch n.kind {
			case noteStartFailed:
				failure, ok = n, true
			case noteLeaving:
				l.leaving = true
			case noteReady, noteSandbox:
				l.hear(n)
			default:
			}
		case <-part:
			return failure, ok
		case <-timer.C:
			return failure, ok
		}
	}
}

// drainLogs goes on hearing notes until all that the ended process has written has been handed over, as long as the sink takes it.
func (l *life) drainLogs() {
	for end := time.Now().Add(l.host.cfg.StopGrace); time.Now().Before(end); {
		copied := l.copied.Load()
		l.drain(l.logsOver, outputGrace)
		select {
		case <-l.logsOver:
			return
		default:
		}
		if l.copied.Load() == copied {
			return
		}
	}
}

// awaitSandbox waits a moment for the sandbox to end; false if it lives, or never was.
func (l *life) awaitSandbox() bool {
	timer := time.NewTimer(deathGrace)
	defer timer.Stop()
	for {
		select {
		case n := <-l.notes:
			if n.kind == noteSandbox {
				l.hear(n)
				if n.err != nil {
					return false
				}
			}
		case <-l.gone():
			return true
		case <-timer.C:
			return false
		}
	}
}

func (l *life) kill(exit Exit) Exit { return l.killWith(exit, nil) }

// killWith kills the runner with all it started, which lets its last output be read, and then ends the container.
func (l *life) killWith(exit Exit, running *payload.Result) Exit {
	if l.processUp {
		c, cancel := context.WithTimeout(context.Background(), outputGrace)
		defer cancel()
		if err := l.signal(c, syscall.SIGKILL, true); err == nil {
			l.drainLogs()
		}
	}
	return l.finish(exit, running)
}

// finish ends everything and settles the inputs: the one that runs gets the result, or is lost if that is nil; the rest is given back. Where
// the runner had several, nobody knows which of them ran: all are lost, and each will be run where there is no other.
func (l *life) finish(exit Exit, running *payload.Result) Exit {
	close(l.over)
	l.mu.Lock()
	l.ended = true
	guest := l.guest
	l.mu.Unlock()
	if l.group != nil {
		l.tearDown(guest)
	}
	l.endVolumes()
	l.emit.Lock() // whoever cancels some of the early ones says so first
	l.mu.Lock()
	runner, early := l.runner, l.early
	l.early = nil
	l.mu.Unlock()
	l.emit.Unlock()
	var returned []payload.Key
	for _, in := range early {
		returned = append(returned, in.Key)
	}
	if runner != nil {
		lost := runner.Running()
		returned = append(returned, runner.TakeQueued()...)
		switch {
		case running != nil && len(lost) == 1:
			l.outputs([]Output{{Key: lost[0], Result: *running}})
		case exit.Reason == TimedOut && l.spec.Slots > 1:
			// Another input's time was over: these are not to blame.
			returned = append(returned, lost...)
		default:
			exit.Lost = lost
		}
	}
	l.returned(returned)
	if !l.logging {
		l.host.cfg.Logs.EOF(l.spec.ID)
	}
	return exit
}

// tearDown kills the sandbox and ends the container's goroutines.
func (l *life) tearDown(guest Guest) {
	c, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	if l.sandbox != nil {
		if err := l.sandbox.Kill(); err != nil {
			l.failed = append(l.failed, err)
		}
	}
	if guest != nil {
		_ = guest.Close() // the other end has just been killed
	}
	if err := l.group.Stop(); err != nil {
		l.failed = append(l.failed, err)
	}
	for _, sandbox := range []Sandbox{l.sandbox, l.late} {
		if sandbox == nil {
			continue
		}
		if err := sandbox.Delete(c); err != nil {
			l.failed = append(l.failed, err)
		}
	}
}

// endVolumes has what the container wrote be committed, now that it writes no more. What can't be within the time for it is tried again.
func (l *life) endVolumes() {
	if len(l.spec.Volumes) == 0 || l.host.cfg.Volumes == nil {
		return
	}
	c, cancel := context.WithTimeout(context.Background(), volumesTimeout)
	defer cancel()
	if err := l.host.cfg.Volumes.End(c, l.spec.ID); err != nil {
		l.failed = append(l.failed, err)
	}
}
