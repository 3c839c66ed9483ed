package ingress_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
)

const domain = "boxes.example"

// authority is a certificate authority for tests.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue writes a certificate for names, over one that was there.
func (a *authority) issue(file string, serial int64, names ...string) ingress.KeyPair {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour), DNSNames: names}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	pair := ingress.KeyPair{Cert: filepath.Join(a.dir, file+".pem"), Key: filepath.Join(a.dir, file+".key")}
	for path, block := range map[string]*pem.Block{pair.Cert: {Type: "CERTIFICATE", Bytes: der}, pair.Key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return pair
}

func (a *authority) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool}
}

// named is a rig with a domain, and a client that finds all names there.
type named struct {
	*rig
	authority *authority
	client    *http.Client
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
}

func startNamed(t *testing.T, o options) *named {
	t.Helper()
	a := newAuthority(t)
	o.ingress.Listen = "127.0.0.1:0"
	o.ingress.Certificates = []ingress.KeyPair{a.issue("wildcard", 2, "*."+domain), a.issue("custom", 3, "*.agents.example")}
	o.tunnel.Domain, o.tunnel.RawAddr = domain, netip.MustParseAddr("127.0.0.1")
	n := &named{rig: start(t, o), authority: a}
	n.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, n.ingress.Addr().String())
	}
	transport := &http.Transport{DialContext: n.dial, TLSClientConfig: a.trust(), ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	n.client = &http.Client{Transport: transport}
	return n
}

func (n *named) get(url string, headers ...string) (answer, string) {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := n.client.Do(req)
	if err != nil {
		n.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Status, res.Header}, string(text)
}

func TestHostNamesWithTLS(t *testing.T) {
	n := startNamed(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}, {Number: 8001, Kind: tunnel.H2}}})
	for _, port := range []uint16{8000, 8001, 8002} {
		n.serve(port, func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Path == "/ws" {
				sendBack.ServeHTTP(w, req)
				return
			}
			w.Header().Set("Trailer", "Grpc-Status")
			fmt.Fprintf(w, "%s %s for=%s proto=%s host=%s metadata=%q", req.Proto, req.Host, req.Header.Get("X-Forwarded-For"),
				req.Header.Get("X-Forwarded-Proto"), req.Header.Get("X-Forwarded-Host"), req.Header.Get(ingress.MetadataHeader))
			w.Header().Set("Grpc-Status", "0")
		})
	}
	list := n.list()
	for i, want := range []string{"HTTP/1.1", "HTTP/2.0"} {
		host := tunnel.HostName(list[i].Port, n.sandbox.ID, domain)
		if list[i].Host != host || list[i].URL != fmt.Sprintf("https://%s:%d", host, list[i].HostPort) || strings.ToLower(host) != host {
			t.Errorf("tunnel %+v", list[i])
		}
		res, err := n.client.Get(list[i].URL)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		host = strings.TrimPrefix(list[i].URL, "https://")
		if says := fmt.Sprintf(`%s %s for=127.0.0.1 proto=https host=%s metadata=""`, want, host, host); err != nil || string(text) != says {
			t.Errorf("got %s, %v; want %s", text, err, says)
		}
		if res.Proto != want || res.Trailer.Get("Grpc-Status") != "0" {
			t.Errorf("answered in %s with trailers %v", res.Proto, res.Trailer)
		}
	}
	cfg, err := websocket.NewConfig(strings.Replace(list[0].URL, "https", "wss", 1)+"/ws", "https://x.example/")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := n.dial(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	trust := n.authority.trust()
	trust.ServerName = list[0].Host
	ws, err := websocket.NewClient(cfg, tls.Client(raw, trust))
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	var got string
	if err := errors.Join(websocket.Message.Send(ws, "hello"), websocket.Message.Receive(ws, &got)); err != nil || got != "hello" {
		t.Errorf("got %q back, %v", got, err)
	}

	closed := strings.Replace(list[0].URL, "8000-", "8002-", 1)
	if a, text := n.get(closed); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a port that is not open: %s %s", a.Status, text)
	}
	c := n.token(tunnel.Access{Port: 8002, Metadata: "alice"})
	if c.URL != closed {
		t.Errorf("token for %s, want %s", c.URL, closed)
	}
	if a, text := n.get(c.URL, "Authorization", "Bearer "+c.Token); !strings.Contains(text, `metadata="alice"`) {
		t.Errorf("with a token: %s %s", a.Status, text)
	}
	a, _ := n.get(c.URL+"/?_skerry_token="+c.Token, "Accept", "text/html")
	if a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a client without cookies that is sent on: %s", a.Status)
	}
	// Where the port is open, a token is not needed and still says who it is.
	open := n.token(tunnel.Access{Port: 8000, Metadata: "bob"})
	if _, text := n.get(open.URL, "Authorization", "Bearer "+open.Token); open.URL != list[0].URL || !strings.Contains(text, `metadata="bob"`) {
		t.Errorf("with a token where it is open, at %s: %s", open.URL, text)
	}
	if _, text := n.get(open.URL, ingress.MetadataHeader, "mallory"); !strings.Contains(text, `metadata=""`) {
		t.Errorf("with a forged header where it is open: %s", text)
	}
	for _, host := range []string{"8000-" + strings.Repeat("a", 26) + "." + domain, "www." + domain} {
		if a, text := n.get(fmt.Sprintf("https://%s:%d/", host, list[0].HostPort), "Accept", "text/html"); a.StatusCode != http.StatusNotFound || !strings.Contains(text, "<h1>404") {
			t.Errorf("%s: %s %s", host, a.Status, text)
		}
	}
}

func TestCookieIsSafeWithTLS(t *testing.T) {
	n := startNamed(t, options{})
	n.tell(8080)
	c := n.token(tunnel.Access{Port: 8080})
	n.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for dest, want := range map[string]string{"document": "Secure; SameSite=Lax", "iframe": "Secure; SameSite=None; Partitioned"} {
		a, _ := n.get(c.URL+"/?_skerry_token="+c.Token, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", dest)
		if got := a.Header.Get("Set-Cookie"); !strings.HasPrefix(got, "__Host-_skerry_token=") || !strings.HasSuffix(got, want) {
			t.Errorf("%s: cookie %q", dest, got)
		}
	}
	if a, text := n.get(c.URL, "Cookie", "__Host-_skerry_token="+c.Token); a.StatusCode != http.StatusOK || !strings.Contains(text, `cookie=""`) {
		t.Errorf("%s %s", a.Status, text)
	}
}

func TestUnencryptedPortsOfADomain(t *testing.T) {
	probe := listen(t) // a port that is free, for a range of one
	port := uint16(probe.Addr().(*net.TCPAddr).Port)
	probe.Close()
	n := startNamed(t, options{
		tunnel: tunnel.Config{FirstPort: port, LastPort: port}, ports: []tunnel.Port{{Number: 9000, Kind: tunnel.Unencrypted}},
	})
	n.echo(9000)
	tun := n.list()[0]
	if tun.URL != "" || tun.HostPort != port || tun.Host != tunnel.HostName(9000, n.sandbox.ID, domain) {
		t.Errorf("tunnel %+v", tun)
	}
	c := dial(t, "127.0.0.1", tun.HostPort)
	io.WriteString(c, "x")
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.tunnels.Open(t.Context(), n.sandbox.ID, tunnel.Port{Number: 9001, Kind: tunnel.Unencrypted}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("a second of a range of one: %v", err)
	}
	without := startNamed(t, options{})
	_, err := without.tunnels.Open(t.Context(), without.sandbox.ID, tunnel.Port{Number: 9001, Kind: tunnel.Unencrypted})
	if !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "tunnel_ports") {
		t.Errorf("without a range: %v", err)
	}
}

func TestCustomDomains(t *testing.T) {
	n := startNamed(t, options{
		ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}, change: func(s *tunnel.Sandbox) { s.CustomDomain = "agents.example" },
	})
	n.tell(8000)
	tun := n.list()[0]
	if !strings.HasSuffix(tun.Host, ".agents.example") {
		t.Errorf("tunnel %+v", tun)
	}
	if a, text := n.get(tun.URL); a.StatusCode != http.StatusOK {
		t.Errorf("%s %s", a.Status, text)
	}
	n.sandbox.CustomDomain = "nobody.example"
	n.update()
	if _, err := n.tunnels.Open(t.Context(), n.sandbox.ID, tunnel.Port{Number: 8001, Kind: tunnel.Encrypted}); !errors.Is(err, fault.Precondition) {
		t.Errorf("a domain without a certificate: %v", err)
	}
}

func TestHostNamesOfThisMachine(t *testing.T) {
	r := start(t, options{ports: []tunnel.Port{{Number: 8000, Kind: tunnel.Encrypted}}})
	r.tell(8000)
	r.tell(8001)
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the gateway") })
	server := httptest.NewServer(r.ingress.ByName(r.tunnels, next))
	defer server.Close()
	name := tunnel.HostName(8000, r.sandbox.ID, "localhost")
	for host, want := range map[string]string{
		name: "200 GET /", name + ":7070": "200 GET /", strings.ToUpper(name): "200 GET /", name + ".": "200 GET /",
		strings.Replace(name, "8000", "8001", 1): "401 ", strings.Replace(name, "8000", "08000", 1): "200 the gateway",
		strings.Replace(name, "localhost", "elsewhere", 1): "404 ", "127.0.0.1": "200 the gateway", "localhost": "200 the gateway", "": "200 the gateway",
	} {
		a, text := ask(t, http.MethodGet, server.URL, "Host", host)
		if got := fmt.Sprint(a.StatusCode, " ", text); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s", host, got)
		}
	}
}
