package ingress_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
)

func TestRawConnectionsGoBothWaysAndEndEachByItself(t *testing.T) {
	for _, kind := range []tunnel.Kind{tunnel.Encrypted, tunnel.H2, tunnel.Unencrypted} {
		t.Run(kind.String(), func(t *testing.T) {
			r := start(t, options{ports: []tunnel.Port{{Number: 9009, Kind: kind}}})
			r.echo(9009)
			tun := r.list()[0]
			if url := fmt.Sprintf("http://127.0.0.1:%d", tun.HostPort); (kind == tunnel.Unencrypted) != (tun.URL == "") || tun.URL != "" && tun.URL != url {
				t.Errorf("URL = %q", tun.URL)
			}
			c := dial(t, tun.Host, tun.HostPort)
			want := make([]byte, 3<<20+17)
			rand.Read(want)
			sent := make(chan error, 1)
			go func() {
				_, err := c.Write(want)
				sent <- errors.Join(err, c.CloseWrite())
			}()
			got, err := io.ReadAll(c)
			if err := errors.Join(err, <-sent); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, append(slices.Clone(want), "goodbye"...)) {
				t.Errorf("got %d bytes, sent %d and wanted goodbye", len(got), len(want))
			}
		})
	}
}

func TestAServerMaySpeakFirst(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 22, Kind: tunnel.Encrypted}}})
	ln := listen(t)
	defer ln.Close()
	r.inside.put(22, ln.Addr().String())
	go func() {
		if c, err := ln.Accept(); err == nil {
			io.WriteString(c, "SSH-2.0-test\r\n")
			c.Close()
		}
	}()
	tun := r.list()[0]
	got, err := io.ReadAll(dial(t, tun.Host, tun.HostPort))
	if err != nil || string(got) != "SSH-2.0-test\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHTTPOverLoopback(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.serve(8000, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/ws" {
			sendBack.ServeHTTP(w, req)
			return
		}
		fmt.Fprintf(w, "%s %s", req.Proto, req.URL.Path)
	})
	tun := r.list()[0]
	var h2c http.Protocols
	h2c.SetUnencryptedHTTP2(true)
	for want, transport := range map[string]*http.Transport{"HTTP/1.1 /x": {}, "HTTP/2.0 /x": {Protocols: &h2c}} {
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Get(tun.URL + "/x")
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(got) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	echoed(t, strings.Replace(tun.URL, "http", "ws", 1)+"/ws", nil)
}

// sendBack is a server of WebSockets.
var sendBack = websocket.Handler(func(c *websocket.Conn) {
	for message := ""; websocket.Message.Receive(c, &message) == nil; {
		if websocket.Message.Send(c, message) != nil {
			return
		}
	}
})

// echoed opens a WebSocket and has a message echoed.
func echoed(t *testing.T, url string, set func(*websocket.Config)) {
	t.Helper()
	cfg, err := websocket.NewConfig(url, "http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	if set != nil {
		set(cfg)
	}
	ws, err := cfg.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.SetDeadline(time.Now().Add(time.Minute))
	for _, want := range []string{"hello", strings.Repeat("x", 100_000)} {
		var got string
		if err := errors.Join(websocket.Message.Send(ws, want), websocket.Message.Receive(ws, &got)); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %d bytes back of %d", len(got), len(want))
		}
	}
}

func TestNothingListens(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	tun := r.list()[0]
	res, err := http.Get(tun.URL)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if res.StatusCode != http.StatusBadGateway || !strings.Contains(string(text), "nothing listens at port 8000") {
		t.Errorf("%s: %s", res.Status, text)
	}
	c := dial(t, tun.Host, tun.HostPort)
	io.WriteString(c, "\x00\x01\x02\x03 not HTTP")
	if got, err := io.ReadAll(c); err == nil || len(got) > 0 {
		t.Errorf("got %q, %v; want the connection cut", got, err)
	}
}

func TestEndOfTheSandboxClosesEverything(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 9000, Kind: tunnel.Unencrypted}}})
	r.echo(9000)
	tun := r.list()[0]
	c := dial(t, tun.Host, tun.HostPort)
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	r.sandbox.State = tunnel.Ended
	r.update()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the connection ended as if its server had closed it")
	}
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tun.HostPort)); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
	if _, err := r.tunnels.List(t.Context(), r.sandbox.ID, time.Minute); !errors.Is(err, fault.Precondition) {
		t.Errorf("List: %v", err)
	}
	if ways, _, _ := r.store.Tunnels(t.Context()); len(ways) > 0 {
		r.stop() // what is written behind is written
		if ways, _, _ = r.store.Tunnels(t.Context()); len(ways) > 0 {
			t.Errorf("still stored: %v", ways)
		}
	}
}

func TestTunnelsKeepTheirAddressesOverARestart(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 9000, Kind: tunnel.Unencrypted}, {Number: 9001, Kind: tunnel.Encrypted}}})
	if _, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 9002, Kind: tunnel.H2}); err != nil {
		t.Fatal(err)
	}
	if err := r.tunnels.CloseTunnel(t.Context(), r.sandbox.ID, 9001); err != nil {
		t.Fatal(err)
	}
	cred, err := r.tunnels.CreateToken(t.Context(), tunnel.Access{SandboxID: r.sandbox.ID, Port: 9003})
	if err != nil {
		t.Fatal(err)
	}
	before := r.list()
	r.stop()

	again := start(t, options{store: r.store})
	again.sandbox = r.sandbox
	again.echo(9000)
	again.serve(9003, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "inside") })
	c := dial(t, before[0].Host, before[0].HostPort) // it waits: the sandbox was not heard of yet
	again.update()
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if after := again.list(); !slices.Equal(after, before) || len(after) != 2 {
		t.Errorf("before %v, after %v", before, after)
	}
	req, _ := http.NewRequest(http.MethodGet, cred.URL, nil)
	req.Header.Set("Authorization", "Bearer "+cred.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, _ := io.ReadAll(res.Body); string(got) != "inside" {
		t.Errorf("token after the restart: %s %q", res.Status, got)
	}
}

func TestAnAddressThatWasTakenIsReplaced(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 9000, Kind: tunnel.Unencrypted}}})
	before := r.list()[0]
	r.stop()
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", before.HostPort))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	again := start(t, options{store: r.store})
	again.sandbox = r.sandbox
	again.update()
	again.echo(9000)
	after := again.list()[0]
	if after.HostPort == before.HostPort || after.HostPort == 0 {
		t.Errorf("port %d after %d was taken", after.HostPort, before.HostPort)
	}
	c := dial(t, after.Host, after.HostPort)
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
