package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/network/policy"
)

// repeat sends back what comes as it comes, and the request's trailer at the end.
func repeat(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := http.NewResponseController(w)
		if r.ProtoMajor == 1 {
			if err := out.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
		}
		w.WriteHeader(http.StatusOK)
		_ = out.Flush()
		buffer := make([]byte, 4096)
		for {
			n, err := r.Body.Read(buffer)
			if n > 0 {
				_, _ = w.Write(buffer[:n])
				_ = out.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"X-Told", r.Trailer.Get("X-End"))
	})
}

// TestBothWays has a client and a host that each wait for the other, over an opened connection, with and without a body that is looked at.
func TestBothWays(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, repeat(t), "api.test")
	for name, secret := range map[string]policy.Secret{"as it is": headerSecret("api.test"), "replaced": placeholderSecret(false, true)} {
		w.set(withSecrets(secret))
		both(t, w, func(t *testing.T, c *http.Client) {
			in, out := io.Pipe()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.test/", in)
			if err != nil {
				t.Fatal(err)
			}
			r.Trailer = http.Header{"X-End": nil}
			answered := make(chan *http.Response, 1)
			go func() {
				resp, err := c.Do(r) //nolint:bodyclose // by the one who gets it
				if err != nil {
					t.Error(err)
				}
				answered <- resp
			}()
			send := func(text string) {
				t.Helper()
				if _, err := io.WriteString(out, text); err != nil {
					t.Fatal(err)
				}
			}
			send("first ")
			resp := <-answered
			if resp == nil {
				t.FailNow()
			}
			defer resp.Body.Close()
			hear := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
					t.Fatalf("%s: got %q, %v; want %q", name, got, err, want)
				}
			}
			hear("first ")
			send("second ")
			hear("second ")
			send(placeholder[:10])
			if name == "replaced" {
				send(placeholder[10:])
				hear(secretValue)
			} else {
				hear(placeholder[:10])
			}
			r.Trailer.Set("X-End", "the end")
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 || resp.Trailer.Get("X-Told") != "the end" {
				t.Errorf("%s: rest %q, %v, trailer %v", name, rest, err, resp.Trailer)
			}
		})
	}
}

// TestWebSocket upgrades a connection, with TLS opened and without TLS.
func TestWebSocket(t *testing.T) {
	w := newWorld(t)
	upgrade := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, both, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(both, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Echo: %s\r\n\r\n", r.Header.Get("Authorization"))
		_ = both.Flush()
		for {
			line, err := both.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "heard "+line)
		}
	})
	w.serveHTTPS(hostAddr, upgrade, "api.test")
	w.serveHTTP(hostAddr, upgrade)
	p := withSecrets(headerSecret("api.test"))
	p.Domains = []string{"api.test"}
	for scheme, sees := range map[string]string{"http": "Bearer mine", "https": "[secret]"} {
		w.set(p)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://api.test/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Authorization": {"Bearer mine"}}
		resp, err := client(t, w.trusting(), false).Transport.RoundTrip(r) //nolint:bodyclose // closed below, as the connection that it is
		if err != nil {
			t.Fatal(err)
		}
		conn, ok := resp.Body.(io.ReadWriteCloser)
		if !ok || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("X-Echo") != sees {
			t.Fatalf("%s: got %d, %v", scheme, resp.StatusCode, resp.Header)
		}
		lines := bufio.NewReader(conn)
		for _, text := range []string{"one", "two"} {
			if _, err := io.WriteString(conn, text+"\n"); err != nil {
				t.Fatal(err)
			}
			if got, err := lines.ReadString('\n'); err != nil || got != "heard "+text+"\n" {
				t.Fatalf("%s: got %q, %v", scheme, got, err)
			}
		}
		w.set(domains("other.test"))
		if rest, err := io.ReadAll(lines); len(rest) > 0 {
			t.Errorf("%s: after a change that doesn't allow it: %q, %v", scheme, rest, err)
		}
		_ = conn.Close()
	}
}

// TestMuch passes 16 MiB each way over an opened connection.
func TestMuch(t *testing.T) {
	w := newWorld(t)
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	w.serveHTTPS(hostAddr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		if _, err := io.Copy(sum, r.Body); err != nil {
			t.Error(err)
		}
		rw.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
		_, _ = rw.Write(content)
	}), "api.test")
	w.set(withSecrets(headerSecret("api.test")))
	want := fmt.Sprintf("%x", sha256.Sum256(content))
	both(t, w, func(t *testing.T, c *http.Client) {
		resp, err := c.Post("https://api.test/", "", bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, resp.Body); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sum.Sum(nil)); got != want || resp.Header.Get("X-Sum") != want {
			t.Errorf("got %s back and %s there, want %s", got, resp.Header.Get("X-Sum"), want)
		}
	})
}

// TestBackpressure: a host that doesn't read holds the client up; the proxy does not take in what nobody takes from it.
func TestBackpressure(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	w.serveHTTPS(hostAddr, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}), "api.test")
	defer close(hold)
	for name, p := range map[string]policy.Policy{"relayed": domains("api.test"), "opened": withSecrets(headerSecret("api.test"))} {
		w.set(p)
		roots := w.hosts.pool()
		if name == "opened" {
			roots = w.trusting()
		}
		both := &endless{}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://api.test/", both)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client(t, roots, true).Do(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || both.read > 32<<20 {
			t.Errorf("%s: %d bytes were taken, %v", name, both.read, err)
		}
	}
}

// endless is a body without an end.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	e.read += len(b)
	return len(b), nil
}

// TestCurl has a client that is not Go's, with its own TLS and HTTP/2.
func TestCurl(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, echo(t), "api.test", "other.test")
	p := withSecrets(headerSecret("api.test"))
	p.Domains = []string{"api.test", "other.test"}
	w.set(p)
	text, err := w.authority.PEM()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ours, theirs := filepath.Join(dir, "ours.pem"), filepath.Join(dir, "theirs.pem")
	write(t, ours, text)
	write(t, theirs, w.hosts.pem)
	curl := func(args ...string) string {
		args = append([]string{"-sS", "--max-time", "20", "--interface", guestAddr.String(), "--noproxy", "*", "--connect-to", "::" + proxyAddr.String() + ":61443"}, args...)
		out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput()
		if err != nil {
			return string(out) + err.Error()
		}
		return string(out)
	}
	for _, version := range []string{"--http1.1", "--http2"} {
		if got := curl(version, "--cacert", ours, "-d", "content", "https://api.test/"); !strings.Contains(got, secretValue) || !strings.Contains(got, "body=content") {
			t.Errorf("%s: %s", version, got)
		}
		if got := curl(version, "--cacert", theirs, "https://other.test/"); !strings.Contains(got, "auth=[]") {
			t.Errorf("%s, unopened: %s", version, got)
		}
	}
	if got := curl("--cacert", theirs, "https://evil.test/"); !strings.Contains(got, "alert") {
		t.Errorf("not listed: %s", got)
	}
	if got := curl("--cacert", ours, "--insecure", "https://"+hostAddr.String()+"/"); !strings.Contains(got, "alert") {
		t.Errorf("an address: %s", got)
	}
}

func FuzzHello(f *testing.F) {
	for _, name := range []string{"api.test", "", "a", strings.Repeat("a.", 100) + "test"} {
		f.Add(hellos(f, name))
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		conn := &said{Reader: bytes.NewReader(text)}
		heard, err := readHello(t.Context(), conn)
		if err != nil {
			return
		}
		if name, err := policy.Name(heard.name); err != nil || name != heard.name {
			t.Errorf("heard %q, %v", heard.name, err)
		}
		if !bytes.HasPrefix(text, heard.read) || len(heard.read) > MaxHello || conn.written > 0 {
			t.Errorf("read %d bytes that are not what was said, wrote %d", len(heard.read), conn.written)
		}
		// Who hears it again hears the same.
		again, err := readHello(t.Context(), &said{Reader: bytes.NewReader(heard.read)})
		if err != nil || again.name != heard.name || again.encrypted != heard.encrypted {
			t.Errorf("again: %+v, %v", again, err)
		}
	})
}

// hellos returns a client's hello.
func hellos(tb testing.TB, name string) []byte {
	tb.Helper()
	conn := &said{Reader: bytes.NewReader(nil)}
	_ = tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}).Handshake() // nobody answers
	return conn.out.Bytes()
}
