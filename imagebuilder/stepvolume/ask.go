package stepvolume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/skerry-dev/skerry/imagebuilder/build"
	"github.com/skerry-dev/skerry/internal/fault"
)

// Held are the volumes of a step that runs, as the runtime has them.
type Held struct {
	// Binds are where they are.
	Binds []build.Bind

	conn *net.UnixConn
	lost chan struct{}
	last chan answer
}

// Ask gets volumes of the desk at a socket. They are held until End, or until this process ends. Errors: those of build.Volumes; fault.Denied
// for a ticket that is not known.
func Ask(ctx context.Context, socket, ticket string) (_ *Held, err error) {
	ctx, cancel := context.WithTimeout(ctx, mountTimeout+greeting)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "the builder can't be reached: %w", err)
	}
	u, _ := conn.(*net.UnixConn)
	h := &Held{conn: u, lost: make(chan struct{}), last: make(chan answer, 1)}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	in := json.NewDecoder(conn)
	var first answer
	if err = json.NewEncoder(conn).Encode(question{Ticket: ticket}); err == nil {
		err = in.Decode(&first)
	}
	if err != nil {
		return nil, errors.Join(fault.New(fault.Unavailable, "the builder has not answered: %w", err), conn.Close())
	}
	if err := first.fault(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	h.Binds = first.Binds
	go h.listen(in)
	return h, nil
}

// listen hears what becomes of the volumes.
func (h *Held) listen(in *json.Decoder) {
	for {
		var a answer
		err := in.Decode(&a)
		switch {
		case err != nil:
			if !errors.Is(err, io.EOF) {
				err = fmt.Errorf("the builder is gone: %w", err)
			}
			a = answerOf(fault.New(fault.Unavailable, "the builder has not said that what the step has written is committed: %w", err))
		case a.Lost:
			close(h.lost)
			continue
		}
		h.last <- a
		return
	}
}

// Lost is closed when the volumes are gone.
func (h *Held) Lost() <-chan struct{} { return h.lost }

// End says that the step has ended, and returns when what it has written is committed. Errors: as of build.Volumes.
func (h *Held) End() error {
	if err := h.conn.CloseWrite(); err != nil {
		return errors.Join(fault.New(fault.Unavailable, "the builder can't be reached: %w", err), h.conn.Close())
	}
	a := <-h.last // the desk answers in a bounded time, or its end is heard of
	return errors.Join(a.fault(), h.conn.Close())
}
