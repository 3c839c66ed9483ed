package guest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit/ports"
	"github.com/skerry-dev/skerry/internal/portstream"
	"github.com/skerry-dev/skerry/worker/guest"
)

// portConn is a connection to a port inside, or why there is none.
type portConn struct {
	io.Writer
	io.Reader
	sent, got io.Closer
	status    int
	reason    string
}

func (c *portConn) Close() error { return errors.Join(c.got.Close(), c.sent.Close()) }

func (s *sandbox) dial(port int) (*portConn, error) { return s.dialWith(port, false) }

// dialWith asks for an answer of frames, or not as gateways of releases before.
func (s *sandbox) dialWith(port int, framed bool) (*portConn, error) {
	s.Helper()
	body, in := io.Pipe()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, fmt.Sprintf("http://gateway/ports/%d", port), body)
	if err != nil {
		return nil, err
	}
	if framed {
		r.Header.Set(portstream.Header, portstream.Version)
	}
	res, err := s.Forward().RoundTrip(r) //nolint:bodyclose // portConn closes it
	if err != nil {
		return nil, err
	}
	c := &portConn{in, res.Body, in, res.Body, res.StatusCode, res.Header.Get(ports.ReasonHeader)}
	if framed != (res.Header.Get(portstream.Header) == portstream.Version) {
		return nil, fmt.Errorf("frames: asked for %v, got %q", framed, res.Header.Get(portstream.Header))
	}
	if framed {
		c.Reader = portstream.NewReader(res.Body)
	}
	s.Cleanup(func() { _ = c.Close() })
	return c, nil
}

// listen serves connections on loopback until the test ends.
func listen(t *testing.T, serve func(*net.TCPConn)) int {
	t.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.AcceptTCP()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port
}

func TestPort(t *testing.T) {
	s := startSandboxInit(t)
	ended := make(chan error, 1)
	port := listen(t, func(c *net.TCPConn) {
		_, err := io.Copy(c, c)
		ended <- errors.Join(err, c.Close())
	})
	c, err := s.dial(port)
	if err != nil || c.status != http.StatusOK {
		t.Fatalf("%+v, %v", c, err)
	}
	small := make([]byte, 5)
	for range 3 { // there and back, while both sides are open
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, small); err != nil || string(small) != "hello" {
			t.Fatalf("%q, %v", small, err)
		}
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	go func() {
		_, _ = c.Write(data)
		_ = c.sent.Close() // what is sent ends; what comes goes on
	}()
	sum := sha256.New()
	if n, err := io.Copy(sum, c); err != nil || n != int64(len(data)) || [32]byte(sum.Sum(nil)) != sha256.Sum256(data) {
		t.Errorf("%d bytes came back, or others: %v", n, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPortEnds: the port's end is the answer's, though the client may still write; a client that goes is told the port.
func TestPortEnds(t *testing.T) {
	s := startSandboxInit(t)
	c, err := s.dial(listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "bye")
		_ = c.Close()
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "bye" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	gone := make(chan error, 1)
	c, err = s.dial(listen(t, func(c *net.TCPConn) {
		_, err := io.ReadAll(c)
		gone <- errors.Join(err, c.Close())
	}))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	<-gone
}

// TestPortHalfCloses: a port that sends no more still takes what the client sends, until it takes no more either; a reset is no end.
func TestPortHalfCloses(t *testing.T) {
	s := startSandboxInit(t)
	rest := make(chan string, 1)
	c, err := s.dialWith(listen(t, func(c *net.TCPConn) {
		_, _ = io.WriteString(c, "done")
		_ = c.CloseWrite()
		text, err := io.ReadAll(c)
		rest <- fmt.Sprint(len(text), " ", err)
		_ = c.Close()
	}), true)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != "done" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	for range 3 {
		if _, err := c.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.sent.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-rest; got != "3145728 <nil>" {
		t.Errorf("the port got %s", got)
	}
	c, err = s.dialWith(listen(t, func(c *net.TCPConn) { _ = c.Close() }), true)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for err == nil { // until the port's reset is known
		_, err = c.Write([]byte("more"))
	}
	c, err = s.dialWith(listen(t, func(c *net.TCPConn) {
		_, _ = io.ReadFull(c, make([]byte, 4))
		_ = c.SetLinger(0)
		_ = c.Close()
	}), true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); len(got) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a port that reset: %q, %v", got, err)
	}
}

func TestPortRefused(t *testing.T) {
	s := startSandboxInit(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	c, err := s.dial(port)
	if err != nil || c.status != http.StatusBadGateway || !strings.Contains(c.reason, "nothing listens") {
		t.Errorf("%+v, %v", c, err)
	}
	for _, port := range []int{0, -1, 65536} {
		if _, err := s.dial(port); !errors.Is(err, fault.NotFound) {
			t.Errorf("port %d: %v", port, err)
		}
	}
}

// TestManyConnections opens more than there may be.
func TestManyConnections(t *testing.T) {
	s := startSandboxInit(t)
	port := listen(t, func(c *net.TCPConn) {
		_, _ = io.Copy(c, c)
		_ = c.Close()
	})
	const extra = 20
	var open []*portConn
	refused := 0
	for range ports.MaxConnections + extra {
		c, err := s.dial(port)
		switch {
		case err != nil:
			t.Fatalf("connection %d: %v", len(open), err)
		case c.status == http.StatusBadGateway && strings.Contains(c.reason, "open already"):
			refused++
		default:
			open = append(open, c)
		}
	}
	if refused != extra {
		t.Errorf("%d connections were refused, want %d", refused, extra)
	}
	t.Logf("init has %d MiB with %d connections", s.memory()>>20, len(open))
	for _, c := range []*portConn{open[0], open[len(open)-1]} {
		b := make([]byte, 2)
		if _, err := io.WriteString(c, "hi"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "hi" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

func TestAwaitReady(t *testing.T) {
	s := startSandboxInit(t)
	s.configure()
	port := listen(t, func(c *net.TCPConn) { _ = c.Close() })
	if err := s.AwaitReady(t.Context(), guest.Probe{TCPPort: uint32(port)}); err != nil {
		t.Error(err)
	}
	file := t.TempDir() + "/ready"
	ready := make(chan error, 1)
	go func() {
		ready <- s.AwaitReady(t.Context(), guest.Probe{Argv: []string{"test", "-e", file}, Interval: 10_000_000})
	}()
	if r, err := s.run(script("r", "echo >"+file)); err != nil || r.exited.GetExitCode() != 0 {
		t.Fatal(err)
	}
	if err := <-ready; err != nil {
		t.Error(err)
	}
	if err := s.AwaitReady(t.Context(), guest.Probe{}); !errors.Is(err, fault.Invalid) {
		t.Errorf("no probe: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ready <- s.AwaitReady(ctx, guest.Probe{Argv: []string{"sleep", "1000"}}) }()
	cancel()
	if err := <-ready; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	for _, p := range s.list() {
		if p.GetProcessId() != "r" {
			t.Errorf("a probe is listed: %v", p)
		}
	}
}

func TestUsage(t *testing.T) {
	s := startSandboxInit(t)
	u, err := s.Usage(t.Context())
	if err != nil || u.DiskBytes == 0 || u.DiskLimitBytes <= u.DiskBytes || u.Processes < 2 {
		t.Errorf("%+v, %v", u, err)
	}
}
