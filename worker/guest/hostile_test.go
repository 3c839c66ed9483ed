package guest_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/link"
	"github.com/skerry-dev/skerry/worker/guest"
)

// agent takes init's place on the socket.
func agent(t *testing.T, serve func(net.Conn)) *guest.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "guest.sock")
	served := make(chan struct{})
	c := accept(t, socket, func() {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(served)
			serve(conn)
			_ = conn.Close()
		}()
	})
	t.Cleanup(func() { _ = c.Close(); <-served })
	return c
}

// answers serves requests with a handler of the agent's.
func answers(t *testing.T, h http.HandlerFunc) *guest.Client {
	t.Helper()
	return agent(t, func(conn net.Conn) { _ = link.Serve(context.Background(), conn, h) })
}

// TestFloods: a connection that is flooded ends, and whoever waits for an answer learns it.
func TestFloods(t *testing.T) {
	for name, flood := range map[string]func(f *http2.Framer) error{
		"pings":    func(f *http2.Framer) error { return f.WritePing(true, [8]byte{}) },
		"settings": func(f *http2.Framer) error { return f.WriteSettingsAck() },
		"unknown":  func(f *http2.Framer) error { return f.WriteRawFrame(99, 0, 0, nil) },
		"giant":    func(f *http2.Framer) error { return f.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 1<<24-1)) },
		"headers": func(f *http2.Framer) error { // they never end
			if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x88}}); err != nil {
				return err
			}
			for {
				if err := f.WriteContinuation(1, false, []byte{0, 1, 'a', 1, 'b'}); err != nil {
					return err
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := agent(t, func(conn net.Conn) {
				f := http2.NewFramer(conn, conn)
				_ = f.WriteSettings()
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				for flood(f) == nil {
					continue
				}
			})
			if _, err := c.Usage(t.Context()); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("an answer: %v", err)
			}
			<-c.Done()
		})
	}
}

// TestEndlessAnswers: what is too long is refused, what does not end goes with its caller.
func TestEndlessAnswers(t *testing.T) {
	c := answers(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "GetUsage"): // one message that does not end
			w.Header().Set("Content-Type", "application/proto")
			for err := error(nil); err == nil; {
				_, err = w.Write(make([]byte, 64<<10))
			}
		case strings.HasSuffix(r.URL.Path, "FollowProcess"): // a message of 4 GiB, as it says
			w.Header().Set("Content-Type", "application/connect+proto")
			_, _ = w.Write(binary.BigEndian.AppendUint32([]byte{0}, 1<<32-1))
			<-r.Context().Done()
		case strings.HasSuffix(r.URL.Path, "WatchActivity"): // messages without end
			w.Header().Set("Content-Type", "application/connect+proto")
			for err := error(nil); err == nil; {
				_, err = w.Write([]byte{0, 0, 0, 0, 0})
			}
		default: // silence
			<-r.Context().Done()
		}
	})
	if _, err := c.Usage(t.Context()); err == nil {
		t.Error("a message without end was taken")
	}
	n := 0
	if err := c.WatchActivity(t.Context(), func(int) error {
		if n++; n == 1000 {
			return fault.Exhausted
		}
		return nil
	}); fault.KindOf(err) != fault.Exhausted {
		t.Errorf("after %d messages: %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Follow(ctx, "main", guest.Offsets{}, func(guest.Piece) error { return nil }); err == nil {
		t.Error("a message of 4 GiB was taken")
	}
	if err := c.Configure(ctx, guest.Settings{}); err == nil {
		t.Error("silence is an answer")
	}
}

// TestForwardCleansAnswers: no header goes on that a browser would act upon, and no page.
func TestForwardCleansAnswers(t *testing.T) {
	var seen http.Header
	c := answers(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		w.Header().Set("Content-Type", r.URL.Query().Get("x")+map[bool]string{true: "text/html", false: "application/proto"}[strings.HasSuffix(r.URL.Path, "Page")])
		for _, h := range []string{"Set-Cookie", "Location", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Connect-Fine"} {
			w.Header().Set(h, "x")
		}
		_, _ = fmt.Fprint(w, "<script>")
	})
	send := func(path string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway"+path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer secret")
		r.Header.Set("Cookie", "secret")
		r.Header.Set("Connect-Protocol-Version", "1")
		return c.Forward().RoundTrip(r)
	}
	res, err := send("/skerry.v1.ProcessService/ListProcesses")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if len(res.Header) != 3 || res.Header.Get("Connect-Fine") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", res.Header)
	}
	if seen.Get("Authorization") != "" || seen.Get("Cookie") != "" || seen.Get("Connect-Protocol-Version") != "1" {
		t.Errorf("the container saw %v", seen)
	}
	for _, path := range []string{
		"/skerry.v1.ProcessService/Page", "/skerry.guest.v1.SandboxService/Quiesce", "/skerry.v1.ProcessService/../x", "/skerry.v1.ProcessService/",
		"/skerry.v1.SandboxService/ListSandboxes", "/", "/ports/",
	} {
		if res, err := send(path); err == nil {
			_ = res.Body.Close()
			t.Errorf("%s went through", path)
		}
	}
}
