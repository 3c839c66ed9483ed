package link

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// replay is a connection on which a peer has sent these bytes.
type replay struct {
	net.Conn
	*bytes.Reader
}

func (r replay) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(len(p), 7)]) }

func sent(frames func(f *http2.Framer)) *guard {
	var b bytes.Buffer
	frames(http2.NewFramer(&b, nil))
	return newGuard(replay{Reader: bytes.NewReader(b.Bytes())})
}

func TestGuard(t *testing.T) {
	data := make([]byte, 1000)
	for name, x := range map[string]struct {
		frames func(f *http2.Framer)
		want   error
	}{
		"data": {func(f *http2.Framer) {
			for range 3 * emptyBurst {
				_ = f.WriteData(1, false, data)
			}
		}, nil},
		"ends": {func(f *http2.Framer) {
			for range 3 * emptyBurst {
				_ = f.WriteData(1, true, nil)
			}
		}, nil},
		"pings":    {func(f *http2.Framer) { repeat(func() { _ = f.WritePing(false, [8]byte{}) }) }, ErrFlood},
		"settings": {func(f *http2.Framer) { repeat(func() { _ = f.WriteSettings() }) }, ErrFlood},
		"nothing":  {func(f *http2.Framer) { repeat(func() { _ = f.WriteData(1, false, nil) }) }, ErrFlood},
		"headers":  {func(f *http2.Framer) { repeat(func() { _ = f.WriteContinuation(1, false, nil) }) }, ErrFlood},
		"unknown":  {func(f *http2.Framer) { repeat(func() { _ = f.WriteRawFrame(99, 0, 1, nil) }) }, ErrFlood},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := io.Copy(io.Discard, sent(x.frames)); !errors.Is(err, x.want) {
				t.Errorf("error is %v, want %v", err, x.want)
			}
		})
	}
}

func repeat(f func()) {
	for range emptyBurst + 1 {
		f()
	}
}

func TestBucketFillsWithTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket{left: 1, burst: 5, rate: 2, at: time.Now()}
		taken := func() (n int) {
			for b.take() {
				n++
			}
			return n
		}
		for i, want := range []int{1, 2} {
			if got := taken(); got != want {
				t.Errorf("%d are there after %d s, want %d", got, i, want)
			}
			time.Sleep(time.Second) //nolint:forbidigo // of a test's own clock
		}
	})
}
