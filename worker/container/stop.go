package container

import (
	"context"
	"syscall"
	"time"
)

// noticeGrace is how long user code that did not end its input may take to notice that it is interrupted. Code that only Python's
// interpreter runs does so at once; code that is stuck elsewhere never does.
const noticeGrace = 2 * time.Second

// How containers end that nothing is wrong with.
var (
	toldToStop = Exit{Reason: Stopped, Message: "it was told to stop"}
	// interrupted has the inputs run elsewhere, and counts them: what they do to every container ends.
	interrupted = Exit{Reason: Lost, Message: "the function's process was interrupted (KeyboardInterrupt or GeneratorExit in its code)"}
)

// interrupt ends a container at once, as far as user code lets it: what runs is interrupted, exit hooks run, and what takes too long is
// killed, as is what has not noticed the interrupt within notice. Code that is still being loaded has no exit hooks.
func (l *life) interrupt(exit Exit, notice time.Duration) Exit {
	l.mu.Lock()
	runner := l.runner
	l.mu.Unlock()
	c, cancel := context.WithTimeout(context.Background(), l.host.cfg.StopGrace)
	defer cancel()
	switch {
	case !l.processUp:
		return l.kill(exit)
	case l.ready && runner != nil:
		runner.Interrupt()
	default:
		if err := l.signal(c, syscall.SIGINT, false); err != nil {
			return l.kill(exit) // init does not answer: the container is ending
		}
	}
	l.awaitEnd(c, notice)
	return l.kill(exit)
}

// leave ends a container whose runner was interrupted by its own code.
func (l *life) leave() Exit {
	l.leaving = true
	c, cancel := context.WithTimeout(context.Background(), l.host.cfg.StopGrace)
	defer cancel()
	l.awaitEnd(c, 0)
	return l.kill(interrupted)
}

// awaitEnd waits until the runner's process has ended or ctx has, or the runner has not said within notice that it ends.
func (l *life) awaitEnd(ctx context.Context, notice time.Duration) {
	timer := time.NewTimer(notice)
	defer timer.Stop()
	for {
		unnoticed := timer.C
		if l.leaving {
			unnoticed = nil
		}
		select {
		case n := <-l.notes:
			switch n.kind {
			case noteLeaving:
				l.leaving = true
			case noteSandbox:
				l.hear(n) // it is to be given back
			default:
			}
		case <-l.processOver:
			return
		case <-l.gone():
			return
		case <-unnoticed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// retire ends a container that has nothing more to do: the runner is told so by the end of its connection, and may clean up.
func (l *life) retire() Exit {
	l.cancelSession()
	if l.processUp {
		l.drain(l.processOver, l.host.cfg.StopGrace)
	}
	return l.kill(toldToStop)
}
