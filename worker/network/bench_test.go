package network

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// hello is what a TLS client says first.
func hello(tb testing.TB, name string) []byte {
	tb.Helper()
	ours, theirs := net.Pipe()
	var said bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 16<<10)
		n, err := theirs.Read(buffer)
		if err != nil {
			tb.Error(err)
		}
		said.Write(buffer[:n])
		_ = theirs.Close()
	}()
	_ = tls.Client(ours, &tls.Config{ServerName: name}).Handshake() // nobody answers
	<-done
	return said.Bytes()
}

// BenchmarkRelay compares connections to port 443 that go by the proxy, which reads the name and passes them on unopened, with those that
// don't: how much passes, and how long it takes from connecting until the host's first byte is there.
func BenchmarkRelay(b *testing.B) {
	w := newWebWorld(b)
	n := w.start()
	first := hello(b, "raw.test")
	serveRaw(b, w.path, len(first))
	for _, c := range []struct {
		name   string
		policy policy.Policy
	}{{"direct", policy.Policy{}}, {"proxy", domains("raw.test")}} {
		e, err := n.AcquireWith(b.Context(), "sb-bench", c.policy)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("throughput/"+c.name, func(b *testing.B) {
			chunk := make([]byte, 1<<20)
			conn := dialRaw(b, e, first)
			defer conn.Close()
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				if _, err := conn.Write(chunk); err != nil {
					b.Fatal(err)
				}
			}
			if err := conn.CloseWrite(); err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil { // until all has arrived
				b.Fatal(err)
			}
		})
		b.Run("connect/"+c.name, func(b *testing.B) {
			for b.Loop() {
				_ = dialRaw(b, e, first).Close()
			}
		})
	}
}

// dialRaw connects, says a hello and waits for the first byte.
func dialRaw(b *testing.B, e *container.Endpoint, first []byte) *net.TCPConn {
	b.Helper()
	var conn *net.TCPConn
	err := within(e.NetnsPath, func() (err error) {
		conn, err = net.DialTCP("tcp4", nil, &net.TCPAddr{IP: net.ParseIP(uplinkRouter), Port: 443})
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Write(first); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		b.Fatal(err)
	}
	return conn
}

// serveRaw answers what it takes for a hello with one byte and reads the rest.
func serveRaw(b *testing.B, namespace string, size int) {
	b.Helper()
	var l net.Listener
	err := within(namespace, func() (err error) {
		l, err = net.Listen("tcp", uplinkRouter+":443")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
					return
				}
				if _, err := c.Write([]byte{1}); err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	b.Cleanup(func() { _ = l.Close(); wg.Wait() })
}

// BenchmarkPolicy is what a change of an endpoint's policy takes, with nothing to cut.
func BenchmarkPolicy(b *testing.B) {
	newWorld(b)
	n := startNetwork(b, nil)
	for name, p := range map[string]policy.Policy{"ranges": {CIDRs: prefixes(public+"/32", "203.0.113.0/24")}, "domains": domains("api.test")} {
		b.Run(name, func(b *testing.B) {
			in, err := n.AcquireWith(b.Context(), "sb-bench", policy.Policy{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := n.SetPolicy(in, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSecret compares HTTPS requests that the proxy opens with those that it passes on unopened: one after the other, and large answers.
func BenchmarkSecret(b *testing.B) {
	w := newWebWorld(b)
	n := w.start()
	text, err := n.CA()
	if err != nil {
		b.Fatal(err)
	}
	w.pool.AppendCertsFromPEM(text)
	for _, c := range []struct {
		name   string
		policy policy.Policy
	}{{"direct", policy.Policy{}}, {"unopened", domains("api.test")}, {"opened", withSecret()}} {
		e, err := n.AcquireWith(b.Context(), "sb-bench", c.policy)
		if err != nil {
			b.Fatal(err)
		}
		for _, h2 := range []bool{false, true} {
			client := w.client(e, "", h2)
			protocol := map[bool]string{false: "http1", true: "http2"}[h2]
			for _, path := range []string{"small", "large"} {
				b.Run(path+"/"+protocol+"/"+c.name, func(b *testing.B) {
					if path == "large" {
						b.SetBytes(largePage)
					}
					for b.Loop() {
						resp, err := client.Get("https://api.test/" + path)
						if err != nil {
							b.Fatal(err)
						}
						if _, err := io.Copy(io.Discard, resp.Body); err != nil {
							b.Fatal(err)
						}
						_ = resp.Body.Close()
					}
				})
			}
			client.CloseIdleConnections()
		}
	}
}
