package link_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/link"
)

// turned returns a client whose requests are served by h on the dialling side of one TCP connection.
func turned(t *testing.T, h http.Handler) *link.Client {
	t.Helper()
	accepted := make(chan *link.Client, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := link.Upgrade(w, r)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		c, err := link.NewClient(conn)
		if err != nil {
			t.Errorf("client: %v", err)
			return
		}
		accepted <- c
	}))
	t.Cleanup(srv.Close)

	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/link", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err = link.Dial(ctx, conn, req)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- link.Serve(ctx, conn, h) }()
	c := <-accepted
	t.Cleanup(func() {
		_ = c.Close()
		if err := <-ended; err == nil {
			t.Error("Serve returned nil after its connection ended")
		}
	})
	return c
}

func get(t *testing.T, c *link.Client, path string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, link.BaseURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.HTTPClient().Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func TestTheDiallerServes(t *testing.T) {
	c := turned(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" "+r.URL.Path)
	}))
	for _, path := range []string{"/a", "/b"} {
		got, err := get(t, c, path)
		if err != nil {
			t.Fatal(err)
		}
		if want := "HTTP/2.0 " + path; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDoneWhenTheDiallerGoes(t *testing.T) {
	c := turned(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	_, err := get(t, c, "/")
	if err == nil {
		t.Error("an aborted handler gave no error")
	}
	_ = c.Close()
	<-c.Done()
	if _, err := get(t, c, "/"); err == nil {
		t.Error("a closed link took a request")
	}
}

func TestUpgradeRefusesPlainRequests(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := link.Upgrade(w, r); err == nil {
			t.Error("a plain request was upgraded")
		}
	}))
	defer srv.Close()
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("got %s", res.Status)
	}
}

func TestDialSaysWhyItWasRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = link.Dial(t.Context(), conn, req); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v, want an error that names the answer", err)
	}
}

// TestWaitingRequestsHoldLittle has many whose bodies are still to come, as connections to ports of sandboxes that nobody uses.
func TestWaitingRequestsHoldLittle(t *testing.T) {
	c := turned(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, r.Body) // it ends as the client wants
	}))
	const count = 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range count {
		body, in := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, link.BaseURL, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close()
			_ = res.Body.Close()
		})
		if _, err := in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapInuse) - int64(before.HeapInuse)) / count; each > 128<<10 {
		t.Errorf("both ends of a request that waits hold %d bytes", each)
	}
}
