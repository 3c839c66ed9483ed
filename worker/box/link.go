package box

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
)

// line is the way to an init: the socket that it dials, and the link there is. Whoever has it sets socket before takeLinks is called.
type line struct {
	noun, id string // for messages
	speak    func(net.Conn) (Guest, error)
	done     chan struct{} // closed when no link will come any more
	socket   *net.UnixListener

	linking sync.Mutex
	guest   Guest         // nil while there is no link
	changed chan struct{} // closed when guest changes
}

func newLine(noun, id string, speak func(net.Conn) (Guest, error)) *line {
	return &line{noun: noun, id: id, speak: speak, done: make(chan struct{}), changed: make(chan struct{})}
}

// listenAt opens a socket in the run folder of a container's folder; undo closes it.
func listenAt(dir, name string, undo *lifecycle.Cleanup) (*net.UnixListener, error) {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, runName, name)})
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	undo.Add(func() { _ = ln.Close() }) // closed already by its server
	return ln, nil
}

// Done is closed when it has ended, for whatever reason.
func (l *line) Done() <-chan struct{} { return l.done }

func (l *line) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Guest returns the link to init, waiting while there is none. Errors: fault.Unavailable if it has ended.
func (l *line) Guest(ctx context.Context) (Guest, error) {
	for {
		g, changed := l.Link()
		if g != nil {
			return g, nil
		}
		select {
		case <-changed:
		case <-l.done:
			return nil, fault.New(fault.Unavailable, "%s %q: has ended", l.noun, l.id)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Link returns the link to init, nil if there is none, and a channel that is closed when that changes.
func (l *line) Link() (Guest, <-chan struct{}) {
	l.linking.Lock()
	defer l.linking.Unlock()
	return l.guest, l.changed
}

func (l *line) setGuest(g Guest) {
	l.linking.Lock()
	defer l.linking.Unlock()
	l.guest = g
	close(l.changed)
	l.changed = make(chan struct{})
}

// Pauses between links, of which one that lasts needs none: a guest that dials and hangs up all the time costs little.
const (
	minPause = time.Millisecond
	maxPause = 5 * time.Second
	lasting  = 10 * time.Second
)

// takeLinks takes one link after another. While there is one nothing is accepted: what else dials waits in the kernel.
func (l *line) takeLinks(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = l.socket.Close() })
	defer stop()
	pause := minPause
	for {
		conn, err := l.socket.Accept()
		if err != nil {
			return // closed, by the end of ctx
		}
		began := time.Now()
		if g, err := l.speak(conn); err == nil {
			l.setGuest(g)
			select {
			case <-g.Done():
			case <-ctx.Done():
			}
			l.setGuest(nil)
			_ = g.Close() // it has ended, or is to
		}
		if pause = min(2*pause, maxPause); time.Since(began) > lasting {
			pause = minPause
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
