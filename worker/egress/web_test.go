package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/network/policy"
)

// speak sends lines to the proxy's port for HTTP and returns what comes back until the end.
func speak(t *testing.T, lines ...string) string {
	t.Helper()
	c, err := from(guestAddr)(t.Context(), "tcp", "x:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("%q: no end after %q", lines, got)
	}
	return string(got)
}

// TestHosts tries requests in all their forms.
func TestHosts(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(hostAddr, says("host"))
	w.serveHTTP(evilAddr, says("evil"))
	w.set(domains("api.test"))
	for name, c := range map[string]struct {
		lines []string
		want  string // in the answer
	}{
		"listed":           {[]string{"GET / HTTP/1.1", "Host: api.test", "Connection: close"}, "host api.test"},
		"other spelling":   {[]string{"GET / HTTP/1.1", "Host: API.test.:80", "Connection: close"}, "host api.test"},
		"HTTP/1.0":         {[]string{"GET / HTTP/1.0", "Host: api.test"}, "host api.test"},
		"absolute":         {[]string{"GET http://api.test/ HTTP/1.1", "Host: api.test", "Connection: close"}, "host api.test"},
		"not listed":       {[]string{"GET / HTTP/1.1", "Host: evil.test", "Connection: close"}, " 403 "},
		"no host":          {[]string{"GET / HTTP/1.1", "Connection: close"}, " 400 "},
		"no host, 1.0":     {[]string{"GET / HTTP/1.0"}, " 403 "},
		"two hosts":        {[]string{"GET / HTTP/1.1", "Host: api.test", "Host: evil.test", "Connection: close"}, " 400 "},
		"address":          {[]string{"GET / HTTP/1.1", "Host: 127.0.0.40", "Connection: close"}, " 403 "},
		"address, decimal": {[]string{"GET / HTTP/1.1", "Host: 2130706472", "Connection: close"}, " 403 "},
		"another port":     {[]string{"GET / HTTP/1.1", "Host: api.test:8080", "Connection: close"}, " 403 "},
		"absolute, evil":   {[]string{"GET http://evil.test/ HTTP/1.1", "Host: api.test", "Connection: close"}, " 403 "},
		"tunnel":           {[]string{"CONNECT evil.test:443 HTTP/1.1", "Host: evil.test:443", "Connection: close"}, " 403 "},
		"h2c upgrade":      {[]string{"GET / HTTP/1.1", "Host: api.test", "Connection: Upgrade, HTTP2-Settings, close", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"}, " 403 "},
		"h2c at once":      {[]string{"PRI * HTTP/2.0", "", "SM", "", ""}, "HTTP/1.1 403 "},
		"smuggled":         {[]string{"POST / HTTP/1.1", "Host: api.test", "Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "", "0", "", "GET / HTTP/1.1", "Host: evil.test"}, "host api.test"},
		"bare line feeds":  {[]string{"GET / HTTP/1.1\nHost: evil.test\nConnection: close"}, " 403 "},
		"long header":      {[]string{"GET / HTTP/1.1", "Host: api.test", "X: " + strings.Repeat("x", 2*MaxHeader)}, " 431 "},
		"private":          {[]string{"GET / HTTP/1.1", "Host: private.test", "Connection: close"}, " 403 "},
	} {
		got := speak(t, c.lines...)
		if !strings.Contains(got, c.want) || strings.Contains(got, "evil evil.test") {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
	w.set(domains("private.test", "nowhere.test"))
	if got := speak(t, "GET / HTTP/1.1", "Host: private.test", "Connection: close"); !strings.Contains(got, " 403 ") {
		t.Errorf("a name that leads to a private address: %q", got)
	}
	if got := speak(t, "GET / HTTP/1.1", "Host: nowhere.test", "Connection: close"); !strings.Contains(got, " 502 ") {
		t.Errorf("a name that leads nowhere: %q", got)
	}
}

// TestEveryRequest: each request of a connection is looked at, and each after a change by the new policy.
func TestEveryRequest(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(hostAddr, says("host"))
	w.serveHTTP(evilAddr, says("evil"))
	w.set(domains("api.test", "other.test"))
	c, err := from(guestAddr)(t.Context(), "tcp", "x:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	ask := func(host string) string {
		t.Helper()
		if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", host); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		return body(t, resp, err)
	}
	for _, host := range []string{"api.test", "other.test", "evil.test", "api.test"} {
		if got := ask(host); strings.HasPrefix(got, "host "+host) == (host == "evil.test") {
			t.Errorf("%s: %q", host, got)
		}
	}
	w.set(domains("other.test"))
	if got := ask("api.test"); !strings.Contains(got, "not in the network policy") {
		t.Errorf("after the change: %q", got)
	}
	if got := ask("other.test"); !strings.HasPrefix(got, "host") {
		t.Errorf("after the change: %q", got)
	}
}

// TestRequestIsCut: a request that is under way ends with a change that doesn't allow it, and one that it allows goes on.
func TestRequestIsCut(t *testing.T) {
	w := newWorld(t)
	step := make(chan struct{})
	w.serveHTTP(hostAddr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "one ")
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-step:
			_, _ = io.WriteString(rw, "two")
		case <-r.Context().Done():
		}
	}))
	w.set(domains("api.test", "other.test"))
	get := func(host string) io.Reader {
		t.Helper()
		resp, err := client(t, nil, false).Get("http://" + host)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if _, err := io.ReadFull(resp.Body, make([]byte, 4)); err != nil { // streamed: the rest is not there yet
			t.Fatal(err)
		}
		return resp.Body
	}
	cut := get("other.test")
	kept := get("api.test")
	w.set(domains("api.test"))
	if got, err := io.ReadAll(cut); err == nil {
		t.Errorf("a request that the policy doesn't allow any more ended well: %q", got)
	}
	close(step)
	if got, err := io.ReadAll(kept); err != nil || string(got) != "two" {
		t.Errorf("a request that it allows: %q, %v", got, err)
	}
}

// TestUntouched: what a proxy usually adds to a request or takes from it is as the client and the host have it.
func TestUntouched(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(hostAddr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		rw.Header().Set("Trailer", "X-Sum")
		_, _ = fmt.Fprintf(rw, "%s %s %v %q %v %v %s", r.Method, r.RequestURI, r.Header, content, r.ContentLength, r.TransferEncoding, r.Trailer.Get("X-End"))
		rw.Header().Set("X-Sum", "sum")
	}))
	w.set(domains("api.test"))
	got := speak(t, "PUT //a/%2F/b?x=1;2&y=%zz HTTP/1.1", "Host: api.test", "X-Forwarded-For: mine", "Accept-Encoding: br", "TE: trailers",
		"Transfer-Encoding: chunked", "Trailer: X-End", "Connection: close", "", "5", "hello", "0", "X-End: end")
	for _, want := range []string{
		`PUT //a/%2F/b?x=1;2&y=%zz map[Accept-Encoding:[br] Te:[trailers] X-Forwarded-For:[mine]] "hello" -1 [chunked] end`, "X-Sum: sum",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestOpenPolicy: without lists every name goes, and only a name.
func TestOpenPolicy(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(evilAddr, says("evil"))
	w.set(policy.Policy{})
	if got := speak(t, "GET / HTTP/1.1", "Host: evil.test", "Connection: close"); !strings.Contains(got, "evil evil.test") {
		t.Errorf("got %q", got)
	}
	if got := speak(t, "GET / HTTP/1.1", "Host: 127.0.0.40", "Connection: close"); !strings.Contains(got, " 403 ") {
		t.Errorf("an address: %q", got)
	}
}

// TestForgottenConnections: an idle connection of an endpoint that is given up ends with it.
func TestForgottenConnections(t *testing.T) {
	w := newWorld(t)
	w.serveHTTP(hostAddr, says("host"))
	w.set(domains("api.test"))
	c, err := from(guestAddr)(t.Context(), "tcp", "x:80")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(c)
	resp, err := http.ReadResponse(answers, nil)
	if got := body(t, resp, err); !strings.HasPrefix(got, "host") {
		t.Fatalf("got %q", got)
	}
	w.proxy.Forget(guestAddr)
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := answers.ReadByte(); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("it is open: %v", err)
	}
	w.proxy.mu.Lock()
	defer w.proxy.mu.Unlock()
	if w.proxy.total != 0 || len(w.proxy.guests) != 0 {
		t.Errorf("%d connections and %d endpoints are known", w.proxy.total, len(w.proxy.guests))
	}
}
