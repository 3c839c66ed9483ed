package ingress_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// memoryConn is a connection to a server in this process that sends everything back: it needs no file, as one over a worker's link.
type memoryConn struct {
	*io.PipeReader
	*io.PipeWriter
}

func newMemoryConn() *memoryConn {
	r, w := io.Pipe()
	return &memoryConn{r, w}
}

func (c *memoryConn) CloseWrite() error { return c.PipeWriter.Close() }
func (c *memoryConn) Close() error      { return errors.Join(c.PipeReader.Close(), c.PipeWriter.Close()) }

type memoryDialer struct{}

func (memoryDialer) DialPort(context.Context, string, uint16) (route.Conn, error) {
	return newMemoryConn(), nil
}

// TestManyConnections holds many open at once, has each carry something, and measures what they cost.
func TestManyConnections(t *testing.T) {
	count := 300
	if testbase.Full() {
		count = 9000 // of 10,000, for both ends are in this process, which may have 20,000 files
	}
	r := start(t, options{ports: []tunnel.Port{{Number: 9000, Kind: tunnel.Unencrypted}}, dialer: memoryDialer{}})
	tun := r.list()[0]
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]*net.TCPConn, count)
	for i := range conns {
		conns[i] = dial(t, tun.Host, tun.HostPort)
	}
	talk := func(c *net.TCPConn, text []byte) error {
		got := make([]byte, len(text))
		_, err := c.Write(text)
		if _, rerr := io.ReadFull(c, got); err != nil || rerr != nil || !bytes.Equal(got, text) {
			return errors.Join(err, rerr, errors.New("came back changed"))
		}
		return nil
	}
	for round := range 3 {
		text := bytes.Repeat([]byte{byte(round)}, 1+round*1000)
		var all sync.WaitGroup
		for _, c := range conns {
			all.Go(func() {
				if err := talk(c, text); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / int64(count)
	t.Logf("%d connections: %d bytes each", count, each)
	if each > 64<<10 {
		t.Errorf("an idle connection costs %d bytes", each)
	}
	for _, c := range conns {
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %d bytes, %v", len(rest), err)
		}
		c.Close()
	}
}

// BenchmarkThroughput receives from a server: directly, through a raw tunnel, and through HTTP with a token.
func BenchmarkThroughput(b *testing.B) {
	const size = 64 << 20
	piece := make([]byte, 64<<10)
	handler := func(w http.ResponseWriter, _ *http.Request) {
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}
	r := start(b, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.serve(8000, handler)
	cred := r.token(tunnel.Access{Port: 8000})
	for name, url := range map[string]string{"direct": "http://" + r.inside.servers[8000], "raw": r.list()[0].URL, "http": cred.URL} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				receive(b, url, cred.Token, size)
			}
		})
	}
}

// BenchmarkRequest makes requests one after the other, as BenchmarkThroughput does.
func BenchmarkRequest(b *testing.B) {
	r := start(b, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.serve(8000, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	cred := r.token(tunnel.Access{Port: 8000})
	for name, url := range map[string]string{"direct": "http://" + r.inside.servers[8000], "raw": r.list()[0].URL, "http": cred.URL} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				receive(b, url, cred.Token, 2)
			}
		})
	}
}

func receive(b *testing.B, url, token string, size int64) {
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || n != size {
		b.Fatal(n, err)
	}
}
