package ingress

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/skerry-dev/skerry/gateway/route"
)

// Sizes of the buffers of a direction. Most connections are idle most of the time, so each keeps a small one and borrows a large one while
// its data fills that.
const (
	smallBuffer = 2 << 10
	largeBuffer = 64 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// relay carries bytes both ways until both have ended, one has failed, or ctx ends; then both are closed. An end of one direction is passed on
// by itself.
func relay(ctx context.Context, a, b route.Conn) error {
	cut := func() {
		abort(a)
		abort(b)
	}
	stop := context.AfterFunc(ctx, cut)
	defer stop()
	back := make(chan error, 1)
	go func() { back <- half(a, b, cut) }()
	err := errors.Join(half(b, a, cut), <-back)
	return errors.Join(err, ignoreClosed(a.Close()), ignoreClosed(b.Close()))
}

// half carries one direction. A failure ends the other one too.
func half(dst, src route.Conn, cut func()) error {
	err := pump(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		cut()
	}
	return err
}

// pump copies until the end of src.
func pump(dst io.Writer, src io.Reader) error {
	small := make([]byte, smallBuffer)
	for {
		n, err := step(dst, src, small)
		if n == smallBuffer && err == nil {
			err = burst(dst, src)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// burst copies with a large buffer while it is filled.
func burst(dst io.Writer, src io.Reader) error {
	large := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(large)
	for {
		n, err := step(dst, src, large[:])
		if err != nil || n < smallBuffer {
			return err
		}
	}
}

// step copies what one read gives.
func step(dst io.Writer, src io.Reader, buf []byte) (int, error) {
	n, err := src.Read(buf)
	if n > 0 {
		if _, werr := dst.Write(buf[:n]); werr != nil {
			return n, werr
		}
	}
	return n, err
}

// abort ends a connection so that the peer sees that it was cut, and not that it has ended.
func abort(c io.Closer) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that has ended needs none
	}
	_ = c.Close() // nothing is lost that was not to be
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
