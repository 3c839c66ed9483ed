package container

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
)

// How long the end of one thing waits for that of another, which is normally there within a millisecond.
const (
	// outputGrace is for what a dead runner has written: outputs in its socket, lines in its pipes. A process that it left behind may
	// hold either open.
	outputGrace = time.Second
	// deathGrace is for the rest of a container of which a part has gone.
	deathGrace = 2 * time.Second
	// dialGrace is for a connection that a dead runner had asked for.
	dialGrace = 50 * time.Millisecond
)

// live starts the container and waits for what ends it.
func (l *life) live(ctx context.Context) Exit {
	if err := l.prepareUnlessStopped(ctx); err != nil {
		if bad := (bucketError{}); errors.As(err, &bad) && bad.theirs() {
			return l.finish(startFailure(bad.Error()), nil)
		}
		return l.finish(Exit{Reason: NotStarted, Message: err.Error()}, nil)
	}
	// The container's goroutines end with it, not with ctx: first it is killed and what it still says is heard.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l.boot(run)
	startup := time.NewTimer(l.spec.StartupTimeout)
	defer startup.Stop()
	for {
		var slow <-chan time.Time
		if !l.ready {
			slow = startup.C
		}
		select {
		case n := <-l.notes:
			if end := l.hear(n); end != nil {
				return end()
			}
		case <-l.gone():
			return l.sandboxGone()
		case <-slow:
			return l.tooSlow()
		case <-l.stop:
			return l.interrupt(toldToStop, l.host.cfg.StopGrace)
		case message := <-l.lost:
			return l.kill(Exit{Reason: Lost, Message: message})
		case <-l.drained:
			return l.retire()
		case <-ctx.Done():
			return l.interrupt(Exit{Reason: Stopped, Message: "the worker stopped it: " + context.Cause(ctx).Error()}, l.host.cfg.StopGrace)
		}
	}
}

// gone is closed when the sandbox has ended; nil while there is none.
func (l *life) gone() <-chan struct{} {
	if l.sandbox == nil {
		return nil
	}
	return l.sandbox.Done()
}

// prepareUnlessStopped is prepare, ended early by a stop.
func (l *life) prepareUnlessStopped(ctx context.Context) error {
	prepare, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	prepared := make(chan error, 1)
	go func() { prepared <- l.prepare(prepare) }()
	select {
	case err := <-prepared:
		return err
	case <-l.stop:
		cancel(errors.New("it was told to stop"))
		return <-prepared
	}
}

// hear takes a note; it returns the container's end if that is what it means.
func (l *life) hear(n note) func() Exit {
	switch n.kind {
	case noteSandbox:
		l.sandbox = n.sandbox
		if n.err != nil {
			return func() Exit { return l.finish(Exit{Reason: NotStarted, Message: n.err.Error()}, nil) }
		}
	case noteProcess:
		if n.err != nil {
			return func() Exit { return l.noProcess(n.err) }
		}
		l.processUp = true
	case noteReady:
		l.ready = true
		l.emit.Lock()
		l.events.Ready(l.times())
		l.emit.Unlock()
	case noteStartFailed:
		return func() Exit {
			l.drain(l.processOver, outputGrace) // it ends by itself, and writes out what it has buffered
			return l.kill(Exit{Reason: StartFailed, Message: n.remote.Message, Error: &n.remote})
		}
	case noteOverran:
		return func() Exit {
			message := fmt.Sprintf("an input ran longer than its timeout of %s, or went on after it was cancelled", l.spec.Timeout)
			return l.interrupt(Exit{Reason: TimedOut, Message: message}, noticeGrace)
		}
	case noteLeaving:
		return l.leave
	case noteProcessEnd:
		return func() Exit { return l.processEnded(n.end, n.err) }
	case noteSession:
		return func() Exit { return l.sessionEnded(n.err) }
	case noteBucketLost:
		return func() Exit { return l.kill(Exit{Reason: Lost, Message: n.err.Error()}) }
	case noteConnected:
	}
	return nil
}

// times closes the phases of a start that has succeeded.
func (l *life) times() []Phase {
	m := &l.marks
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(l.phases,
		Phase{"sandbox", m.dialled.Sub(m.sandbox)},
		Phase{"init", m.processUp.Sub(m.dialled)},
		Phase{"import", time.Since(m.processUp)})
}

// noProcess ends a container whose runner could not be started.
func (l *life) noProcess(err error) Exit {
	if errors.Is(err, fault.NotFound) || errors.Is(err, fault.Invalid) {
		return l.kill(startFailure("the function's process could not be started: " + err.Error() +
			"; the image needs python3 in its PATH and a usable working directory"))
	}
	if gone := l.awaitSandbox(); gone {
		return l.sandboxGone()
	}
	return l.kill(Exit{Reason: NotStarted, Message: "the container's init does not answer: " + err.Error()})
}

func startFailure(message string) Exit {
	return Exit{Reason: StartFailed, Message: message, Error: &payload.RemoteError{Message: message}}
}

// tooSlow ends a container that was not ready in time.
func (l *life) tooSlow() Exit {
	if !l.processUp {
		return l.kill(Exit{Reason: NotStarted, Message: fmt.Sprintf("the sandbox was not up within %s", l.spec.StartupTimeout)})
	}
	return l.kill(startFailure(fmt.Sprintf("the container was not ready within its startup timeout of %s: importing the function's module"+
		" had not ended; raise startup_timeout or timeout", l.spec.StartupTimeout)))
}

// sandboxGone ends a container whose sandbox has ended with no report from init.
func (l *life) sandboxGone() Exit {
	l.hearLast()
	if used := l.usedUp(); used != Nothing {
		return l.outOf(used)
	}
	message := "the sandbox ended without a report"
	if crash := l.sandbox.Crash(); crash != "" {
		message += ": " + crash
	}
	if !l.ready {
		return l.finish(Exit{Reason: NotStarted, Message: message}, nil)
	}
	return l.finish(Exit{Reason: Lost, Message: message}, nil)
}

// outOf ends a container that has run into one of its limits.
func (l *life) outOf(used Resource) Exit {
	reason, status := OutOfMemory, payload.OutOfMemory
	message, advice := "container ran out of memory", "; raise the function's memory"
	switch {
	case used == Processes:
		reason, status = RunnerExited, payload.Failure
		message, advice = "container started more processes and threads than it may have", "; start fewer at a time"
	case used == WorkerMemory:
		message += fmt.Sprintf(": all containers of its worker together used up the %d MiB that it offers, and this one used most",
			l.host.cfg.MemoryMiB)
		advice = "; set the function's memory to what it needs, so that it is placed where that is free"
	case l.spec.MemoryLimitMiB > 0:
		message += fmt.Sprintf(": limit %d MiB", l.spec.MemoryLimitMiB)
	}
	if !l.ready {
		return l.finish(startFailure(message+", while the function's module was imported"+advice), nil)
	}
	result := payload.Failed(status, message+advice)
	return l.finish(Exit{Reason: reason, Message: message}, &result)
}

// processEnded ends a container whose runner's process has ended, or whose link to init broke.
func (l *life) processEnded(end ProcessEnd, err error) Exit {
	if err != nil {
		if l.awaitSandbox() {
			return l.sandboxGone()
		}
		if used := l.usedUp(); used != Nothing { // it is dying: with much memory that takes its time
			l.hearLast()
			return l.outOf(used)
		}
		return l.finish(Exit{Reason: Lost, Message: "the container's init does not answer: " + err.Error()}, nil)
	}
	if n, ok := l.hearLast(); ok {
		return l.finish(Exit{Reason: StartFailed, Message: n.remote.Message, Error: &n.remote}, nil)
	}
	if l.leaving {
		return l.finish(interrupted, nil)
	}
	// The kernel may have picked a process of the container instead of the sandbox itself.
	if used := l.usedUp(); used != Nothing && end.Signal == syscall.SIGKILL {
		return l.outOf(used)
	}
	message := describe(end)
	if !l.ready {
		return l.finish(startFailure(message+" while its module was imported"), nil)
	}
	result := payload.Failed(payload.Failure, message)
	return l.finish(Exit{Reason: RunnerExited, Message: message}, &result)
}

// hearLast takes what a dead runner had written: outputs that are still in its socket, lines that are still in its pipes.
func (l *life) hearLast() (failure note, ok bool) {
	l.mu.Lock()
	connected := l.runner != nil
	l.mu.Unlock()
	if !connected {
		// It may have dialled without our having noticed. An error would mean that it is closed, which is the same end.
		_ = l.runnerL.SetDeadline(time.Now().Add(dialGrace))
	}
	failure, ok = l.drain(l.sessionOver, outputGrace)
	if l.processUp {
		l.drainLogs()
	}
	return failure, ok
}

// usedUp tells which limit the container has run into. Where that can't be read, the end is told without it.
func (l *life) usedUp() Resource {
	if l.sandbox == nil {
		return Nothing
	}
	used, err := l.sandbox.UsedUp()
	if err != nil {
		l.failed = append(l.failed, err)
	}
	return used
}

// describe says how the function's process ended, for its caller.
func describe(end ProcessEnd) string {
	if end.Signal == 0 && end.ExitCode == 0 {
		return "the function's process exited with code 0 (sys.exit in a thread, or os._exit)"
	}
	if end.Signal == 0 {
		return fmt.Sprintf("the function's process exited with code %d (os._exit, or a crash in native code)", end.ExitCode)
	}
	names := map[syscall.Signal]string{
		syscall.SIGSEGV: "segmentation fault", syscall.SIGABRT: "aborted", syscall.SIGKILL: "killed", syscall.SIGBUS: "bus error",
		syscall.SIGFPE: "arithmetic error", syscall.SIGILL: "illegal instruction", syscall.SIGTERM: "terminated",
		syscall.SIGINT: "interrupted", syscall.SIGXCPU: "CPU time limit", syscall.SIGXFSZ: "file size limit",
	}
	name, ok := names[end.Signal]
	if !ok {
		name = end.Signal.String()
	}
	return fmt.Sprintf("the function's process died of signal %d (%s)", int(end.Signal), name)
}

// sessionEnded ends a container whose runner no longer speaks. Mostly the process is ending and says in a moment why.
func (l *life) sessionEnded(err error) Exit {
	timer := time.NewTimer(deathGrace)
	defer timer.Stop()
	for {
		select {
		case n := <-l.notes:
			switch n.kind {
			case noteProcessEnd:
				if errors.Is(err, fault.Invalid) && n.err == nil && l.ready {
					return l.brokeProtocol(err)
				}
				return l.processEnded(n.end, n.err)
			case noteStartFailed, noteOverran, noteLeaving, noteSandbox:
				if end := l.hear(n); end != nil {
					return end()
				}
			default:
			}
		case <-l.gone():
			return l.sandboxGone()
		case <-l.stop:
			return l.kill(toldToStop)
		case <-timer.C:
			message := "the function's process closed its connection to the worker"
			if err != nil {
				message += ": " + err.Error()
			}
			if !l.ready {
				return l.kill(startFailure(message))
			}
			result := payload.Failed(payload.Failure, message)
			return l.killWith(Exit{Reason: RunnerExited, Message: message}, &result)
		}
	}
}

// brokeProtocol ends a container whose function's process wrote to the worker's connection itself; the process ended because that was then
// closed, so its exit code says nothing.
func (l *life) brokeProtocol(err error) Exit {
	message := "the function's process broke its connection to the worker (code that writes to, or closes, descriptors that it has not opened): " +
		err.Error()
	result := payload.Failed(payload.Failure, message)
	return l.killWith(Exit{Reason: RunnerExited, Message: message}, &result)
}
