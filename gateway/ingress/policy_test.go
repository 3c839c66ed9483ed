package ingress_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
)

func prefixes(list ...string) []netip.Prefix {
	out := []netip.Prefix{}
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestInboundAllowList(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.tell(8000)
	r.echo(9000)
	opened, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 9000, Kind: tunnel.Unencrypted})
	if err != nil {
		t.Fatal(err)
	}
	url := r.list()[0].URL
	cred := r.token(tunnel.Access{Port: 8000})
	conn := dial(t, opened.Host, opened.HostPort)
	io.WriteString(conn, "x")
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		list []netip.Prefix
		in   bool
	}{{prefixes("127.0.0.0/8", "10.0.0.0/8"), true}, {prefixes("10.0.0.0/8", "::/0"), false}, {prefixes(), false}, {prefixes("127.0.0.1/32"), true}} {
		r.sandbox.Restricted, r.sandbox.Inbound = true, c.list
		r.update()
		want := http.StatusOK
		if !c.in {
			want = http.StatusForbidden
		}
		if a, text := ask(t, http.MethodGet, url); a.StatusCode != want {
			t.Errorf("%v: tunnel: %s %s", c.list, a.Status, text)
		}
		if a, text := ask(t, http.MethodGet, cred.URL, "Authorization", "Bearer "+cred.Token); a.StatusCode != want {
			t.Errorf("%v: token: %s %s", c.list, a.Status, text)
		}
	}
	if _, err := io.ReadAll(conn); err == nil {
		t.Error("a connection from an address that is not allowed any more ended in good order")
	}
	r.sandbox.Restricted, r.sandbox.NoNetwork = false, true
	r.update()
	if a, text := ask(t, http.MethodGet, url); a.StatusCode != http.StatusBadGateway {
		t.Errorf("without a network: %s %s", a.Status, text)
	}
	if _, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 1, Kind: tunnel.H2}); !errors.Is(err, fault.Precondition) {
		t.Errorf("open without a network: %v", err)
	}
}

func TestProxiesAreBelievedWhereTheyAreTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		trusted []netip.Prefix
		headers []string
		allowed bool
		says    string
	}{
		"nobody is":        {headers: []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https"}, says: "for=[127.0.0.1] proto=[http]"},
		"the nearest is":   {prefixes("127.0.0.1/32"), []string{"X-Forwarded-For", "192.0.2.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "a.example"}, true, "for=[192.0.2.7, 127.0.0.1] proto=[https] host=[a.example]"},
		"a chain":          {prefixes("127.0.0.1/32", "10.0.0.0/8"), []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "192.0.2.7,10.1.1.1"}, true, "for=[1.1.1.1, 192.0.2.7, 10.1.1.1, 127.0.0.1]"},
		"an invented one":  {prefixes("127.0.0.1/32"), []string{"X-Forwarded-For", "192.0.2.7, 198.51.100.1"}, false, ""},
		"an invalid one":   {prefixes("127.0.0.1/32"), []string{"X-Forwarded-For", "192.0.2.7, nonsense"}, false, ""},
		"mapped":           {prefixes("127.0.0.1/32"), []string{"X-Forwarded-For", "::ffff:192.0.2.7"}, true, "for=["},
		"with underscores": {prefixes("127.0.0.1/32"), []string{"X-Forwarded-For", "192.0.2.7", "X_forwarded_for", "6.6.6.6"}, true, "for=[192.0.2.7, 127.0.0.1]"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, options{
				tunnel: tunnel.Config{Domain: domain}, ingress: ingress.Config{TrustedProxies: c.trusted}, ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}},
			})
			r.serve(8000, func(w http.ResponseWriter, req *http.Request) {
				fmt.Fprintf(w, "for=%v proto=%v host=%v", req.Header["X-Forwarded-For"], req.Header["X-Forwarded-Proto"], req.Header["X-Forwarded-Host"])
				if req.Header["X_forwarded_for"] != nil {
					t.Error("the header with underscores came through")
				}
			})
			server := httptest.NewServer(r.ingress.ByName(r.tunnels, nil))
			defer server.Close()
			headers := append([]string{"Host", tunnel.HostName(8000, r.sandbox.ID, domain)}, c.headers...)
			if a, text := ask(t, http.MethodGet, server.URL, headers...); c.says != "" && !strings.Contains(text, c.says) {
				t.Errorf("%s %s", a.Status, text)
			}
			r.sandbox.Restricted, r.sandbox.Inbound = true, prefixes("192.0.2.0/24")
			r.update()
			if a, _ := ask(t, http.MethodGet, server.URL, headers...); (a.StatusCode == http.StatusOK) != c.allowed || !c.allowed && a.StatusCode != http.StatusForbidden {
				t.Errorf("with an allow-list: %s", a.Status)
			}
		})
	}
}

// TestNamesOfThisMachineAreForThisMachine has others come by them, as they could where the gateway's port is open to them.
func TestNamesOfThisMachineAreForThisMachine(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	to, err := r.tunnels.Find(tunnel.HostName(8000, r.sandbox.ID, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	away := netip.MustParseAddr("192.0.2.1")
	if _, err := to.Admit(t.Context(), route.Visitor{Addr: away}); !errors.Is(err, fault.Unauthenticated) {
		t.Errorf("somebody from elsewhere: %v", err)
	}
	cred := r.token(tunnel.Access{Port: 8000})
	for _, v := range []route.Visitor{{Addr: away, Tokens: []string{"theirs", cred.Token}}, {Addr: netip.MustParseAddr("::1")}} {
		visit, err := to.Admit(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		visit.End()
	}
}

func TestClosedTunnelEndsItsConnections(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.tell(8000)
	server := httptest.NewServer(r.ingress.ByName(r.tunnels, nil))
	defer server.Close()
	cfg, err := websocket.NewConfig("ws"+strings.TrimPrefix(server.URL, "http")+"/ws", "http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	raw := dial(t, "127.0.0.1", netip.MustParseAddrPort(server.Listener.Addr().String()).Port())
	cfg.Location.Host = tunnel.HostName(8000, r.sandbox.ID, "localhost")
	ws, err := websocket.NewClient(cfg, raw)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	cred := r.token(tunnel.Access{Port: 8000})
	for range 2 { // one that is closed is no error
		if err := r.tunnels.CloseTunnel(t.Context(), r.sandbox.ID, 8000); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := ws.Read(make([]byte, 1)); err == nil {
		t.Errorf("the WebSocket goes on: %d bytes", n)
	}
	if a, text := ask(t, http.MethodGet, cred.URL, "Authorization", "Bearer "+cred.Token); a.StatusCode != http.StatusOK {
		t.Errorf("with a token: %s %s", a.Status, text)
	}
	r.update() // that the definition has it opens it no more
	if list := r.list(); len(list) > 0 {
		t.Errorf("still listed: %v", list)
	}
	if _, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 8000, Kind: tunnel.H2}); err != nil {
		t.Errorf("open again, in another way: %v", err)
	}
	if as, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 8000, Kind: tunnel.Encrypted}); err != nil || as.Kind != tunnel.H2 {
		t.Errorf("one that is open: %v, %v", as, err)
	}
}

func TestPortsAndVisitorsAreBounded(t *testing.T) {
	r := start(t, options{})
	for port := range uint16(tunnel.MaxTunnels) {
		for range 2 {
			if _, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: port + 1, Kind: tunnel.Encrypted}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 1000, Kind: tunnel.Encrypted}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("one more: %v", err)
	}
	to, err := r.tunnels.Find(tunnel.HostName(1, r.sandbox.ID, "localhost"))
	if err != nil {
		t.Fatal(err)
	}
	var visits []*route.Visit
	visitor := route.Visitor{Addr: netip.MustParseAddr("127.0.0.1")}
	for range tunnel.MaxVisits {
		v, err := to.Admit(t.Context(), visitor)
		if err != nil {
			t.Fatal(err)
		}
		visits = append(visits, v)
	}
	if _, err := to.Admit(t.Context(), visitor); !errors.Is(err, fault.Exhausted) {
		t.Errorf("one more visitor: %v", err)
	}
	for _, v := range visits {
		v.End()
	}
	v, err := to.Admit(t.Context(), visitor)
	if err != nil {
		t.Fatal(err)
	}
	v.End()
}

func TestStartingSandbox(t *testing.T) {
	r := start(t, options{
		tunnel: tunnel.Config{StartWait: 50 * time.Millisecond}, ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}},
		change: func(s *tunnel.Sandbox) { s.State = tunnel.Starting },
	})
	if _, err := r.tunnels.List(t.Context(), r.sandbox.ID, 0); fault.KindOf(err) != nil || err == nil {
		t.Errorf("List without a limit: %v", err)
	}
	listed := make(chan []tunnel.Tunnel, 1)
	go func() {
		list, err := r.tunnels.List(t.Context(), r.sandbox.ID, time.Minute)
		if err != nil {
			t.Error(err)
		}
		listed <- list
	}()
	r.sandbox.State = tunnel.Running
	r.update()
	list := <-listed
	r.inside.mu.Lock()
	r.inside.err = fault.New(fault.Unavailable, "the worker wk-secret is lost")
	r.inside.mu.Unlock()
	cred := r.token(tunnel.Access{Port: 8000})
	for _, url := range []string{list[0].URL, cred.URL} {
		if a, text := ask(t, http.MethodGet, url, "Authorization", "Bearer "+cred.Token); a.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "worker is away") || strings.Contains(text, "secret") {
			t.Errorf("%s: %s %s", url, a.Status, text)
		}
	}
	if _, err := r.tunnels.List(t.Context(), "sb-0000000000000000000000", time.Minute); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}
