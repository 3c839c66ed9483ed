package ingress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/tunnel"
)

// at is where a URL's host listens.
func at(t *testing.T, url string) (string, uint16) {
	t.Helper()
	a, err := netip.ParseAddrPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return a.Addr().String(), a.Port()
}

// TestRequestsAreWrittenAgain sends what proxies and servers have read differently: it is refused, or reaches the server in one reading.
func TestRequestsAreWrittenAgain(t *testing.T) {
	r := start(t, options{})
	var got atomic.Pointer[string]
	ln := listen(t)
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				n, _ := c.Read(buf)
				text := string(buf[:n])
				got.Store(&text)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
			}()
		}
	}()
	r.inside.put(8080, ln.Addr().String())
	cred := r.token(tunnel.Access{Port: 8080})
	host, port := at(t, cred.URL)
	auth := "Host: x\r\nAuthorization: Bearer " + cred.Token + "\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		absent  string // from what the server got
	}{
		"plain":                  {"GET / HTTP/1.1\r\n" + auth + "\r\n", 200, cred.Token},
		"two lengths":            {"POST / HTTP/1.1\r\n" + auth + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 400, ""},
		"a length and chunks":    {"POST / HTTP/1.1\r\n" + auth + "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n", 200, "admin"},
		"chunks in disguise":     {"POST / HTTP/1.1\r\n" + auth + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, ""},
		"a space before a colon": {"GET / HTTP/1.1\r\n" + auth + "Transfer-Encoding : chunked\r\n\r\n", 400, ""},
		"a folded header":        {"GET / HTTP/1.1\r\n" + auth + "A: b\r\n X-Skerry-User-Metadata: forged\r\n\r\n", 200, "\n X-Skerry"},
		"a bare line feed":       {"GET / HTTP/1.1\r\n" + auth + "A: b\nX-Skerry-User-Metadata: forged\r\n\r\n", 200, "forged"},
		"a zero byte":            {"GET / HTTP/1.1\r\n" + auth + "A: b\x00c\r\n\r\n", 400, ""},
		"another protocol":       {"PRI * HTTP/1.1\r\n" + auth + "\r\n", 405, ""},
		"a proxy's method":       {"CONNECT example.com:443 HTTP/1.1\r\n" + auth + "\r\n", 405, ""},
		"connection headers":     {"GET / HTTP/1.1\r\n" + auth + "Connection: X-Skerry-User-Metadata, A\r\nA: gone\r\nX-Skerry-User-Metadata: forged\r\n\r\n", 200, "gone"},
		"another upgrade":        {"GET / HTTP/1.1\r\n" + auth + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n", 200, "h2c"},
		"trailers":               {"POST / HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\nTrailer: X-Skerry-User-Metadata\r\n\r\n0\r\nX-Skerry-User-Metadata: forged\r\n\r\n", 200, "Metadata"},
		"large headers":          {"GET / HTTP/1.1\r\n" + auth + "A: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", 431, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got.Store(nil)
			conn := dial(t, host, port)
			if _, err := io.WriteString(conn, c.request); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			seen := ""
			if text := got.Load(); text != nil {
				seen = *text
			}
			if res.StatusCode != c.status || c.absent != "" && strings.Contains(seen, c.absent) || res.StatusCode != http.StatusOK && seen != "" {
				t.Errorf("%s, and the server got %q", res.Status, seen)
			}
		})
	}
}

func TestServersThatMisbehave(t *testing.T) {
	r := start(t, options{})
	cred := r.token(tunnel.Access{Port: 8080})
	for name, c := range map[string]struct {
		answer string
		status int
	}{
		"nothing":           {"", 502},
		"no HTTP":           {"SSH-2.0-x\r\n\r\n", 502},
		"endless headers":   {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 502},
		"endless hints":     {strings.Repeat("HTTP/1.1 103 Early Hints\r\nA: "+strings.Repeat("a", 1000)+"\r\n\r\n", 1000), 502},
		"an unasked switch": {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502},
	} {
		t.Run(name, func(t *testing.T) {
			ln := listen(t)
			defer ln.Close()
			r.inside.put(8080, ln.Addr().String())
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, c.answer)
				}
			}()
			if a, text := ask(t, http.MethodPost, cred.URL, "Authorization", "Bearer "+cred.Token); a.StatusCode != c.status || strings.Contains(text, cred.Token) {
				t.Errorf("%s %.200s", a.Status, text)
			}
			<-served
		})
	}
}

// TestSlowVisitors has visitors that begin and say no more: each is cut, and holds nobody else up.
func TestSlowVisitors(t *testing.T) {
	n := startNamed(t, options{
		ingress: ingress.Config{HeaderTimeout: 100 * time.Millisecond, MaxConnections: 4}, ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}},
	})
	n.tell(8000)
	slow := func(first string) net.Conn {
		c, err := n.dial(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, first)
		return c
	}
	var conns []net.Conn
	for range 4 {
		conns = append(conns, slow("\x16\x03\x01")) // the beginning of TLS
	}
	if c, err := n.dial(t.Context(), "tcp", ""); err == nil { // it may be cut before dial returns
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a connection over the bound was taken")
		}
		c.Close()
	}
	for _, c := range conns {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.Close()
	}
	for { // the places are free when the server has noticed
		res, err := n.client.Get(n.list()[0].URL)
		if err == nil {
			res.Body.Close()
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(err)
		}
	}
	host, port := at(t, n.rigLoopback().URL)
	c := dial(t, host, port)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nA: ")
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("half a request is cut off with %v", err)
	}
}

// rigLoopback is an address for tokens of another gateway, without a domain, that is as impatient.
func (n *named) rigLoopback() tunnel.Credentials {
	n.t.Helper()
	return start(n.t, options{ingress: ingress.Config{HeaderTimeout: 100 * time.Millisecond}}).token(tunnel.Access{Port: 8080})
}

// TestStreamsHoldLittle sends much through HTTP and raw connections, both ways at once, while what is held stays small; a side that doesn't read
// holds its own sender up.
func TestStreamsHoldLittle(t *testing.T) {
	const size = 32 << 20
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.serve(8000, func(w http.ResponseWriter, req *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		for buf := make([]byte, 32<<10); ; {
			n, err := req.Body.Read(buf)
			w.Write(buf[:n])
			rc.Flush()
			if err != nil {
				return
			}
		}
	})
	cred := r.token(tunnel.Access{Port: 8000})
	for name, url := range map[string]string{"raw": r.list()[0].URL, "http": cred.URL} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			in, out := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, in)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+cred.Token)
			go func() { // chunks, each of which comes back before the next is sent
				_, err := out.Write([]byte("first"))
				if err != nil {
					out.CloseWithError(err)
				}
			}()
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			first := make([]byte, 5)
			if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "first" {
				t.Fatalf("the first piece: %q, %v", first, err)
			}
			var sent atomic.Int64
			go func() {
				piece := make([]byte, 64<<10)
				for sent.Load() < size {
					n, err := out.Write(piece)
					sent.Add(int64(n))
					if err != nil {
						break
					}
				}
				out.Close()
			}()
			n, err := io.Copy(io.Discard, res.Body)
			if err != nil || n != size {
				t.Errorf("%d bytes back of %d, %v", n, size, err)
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 16<<20 {
				t.Errorf("the heap has grown by %d KiB", grown>>10)
			}
		})
	}
}

// TestNothingIsLeftBehind looks for goroutines of ours after everything was closed.
func TestNothingIsLeftBehind(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.tell(8000)
	r.echo(9000)
	opened, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 9000, Kind: tunnel.Unencrypted})
	if err != nil {
		t.Fatal(err)
	}
	cred := r.token(tunnel.Access{Port: 8000})
	ask(t, http.MethodGet, cred.URL, "Authorization", "Bearer "+cred.Token)
	ask(t, http.MethodGet, r.list()[0].URL)
	c := dial(t, opened.Host, opened.HostPort)
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("a connection ended in good order when its gateway stopped")
	}
	buf := make([]byte, 4<<20)
	deadline := time.Now().Add(time.Minute)
	for {
		stacks := strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n")
		ours := slices.DeleteFunc(stacks, func(s string) bool {
			return !strings.Contains(s, "/gateway/ingress.") && !strings.Contains(s, "/gateway/tunnel.")
		})
		if len(ours) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(fmt.Sprint(len(ours), " goroutines are left:\n", strings.Join(ours, "\n\n")))
		}
		runtime.Gosched()
	}
}
