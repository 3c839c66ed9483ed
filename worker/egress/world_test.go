package egress

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
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/egress/authority"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// world is a proxy, hosts behind it and an endpoint in front of it.
type world struct {
	t         *testing.T
	proxy     *Proxy
	authority *authority.Authority
	hosts     certificates // that hosts have, which only the proxy trusts
	stop      func()       // ends the proxy

	mu       sync.Mutex
	names    map[string]netip.Addr
	resolved map[string]int
}

// certificates is an authority of the tests.
type certificates struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newCertificates(t *testing.T) certificates {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hosts of the tests"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificates{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})}
}

// of returns a certificate for names.
func (c certificates) of(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, c.cert, &c.key.PublicKey, c.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: c.key}
}

func (c certificates) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.cert)
	return pool
}

// newWorld runs a proxy for the test's time.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, hosts: newCertificates(t), resolved: map[string]int{}, names: map[string]netip.Addr{
		"api.test": hostAddr, "sub.api.test": hostAddr, "other.test": hostAddr, "evil.test": evilAddr, "private.test": closeAddr,
	}}
	dir := t.TempDir()
	w.authority = authority.New(filepath.Join(dir, "authority"))
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, w.hosts.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	proxy, err := New(Config{
		TLS: netip.AddrPortFrom(proxyAddr, 61443), HTTP: netip.AddrPortFrom(proxyAddr, 61080), Resolve: w.resolve, Permit: permit,
		Authority: w.authority, ExtraRoots: roots, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.proxy = proxy
	ctx, cancel := context.WithCancel(t.Context())
	listening, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- proxy.Run(ctx, func() { close(listening) }) }()
	select {
	case <-listening:
	case err := <-ended:
		t.Fatal(err)
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

func permit(addr netip.Addr) error {
	if addr == closeAddr {
		return fault.New(fault.Denied, "address %s is in a private range", addr)
	}
	return nil
}

func (w *world) resolve(_ context.Context, host string) ([]netip.Addr, time.Duration, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolved[host]++
	addr, ok := w.names[host]
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "name %q has no IPv4 address", host)
	}
	return []netip.Addr{addr}, time.Minute, nil
}

func (w *world) set(p policy.Policy) {
	w.t.Helper()
	p, err := p.Normal()
	if err != nil {
		w.t.Fatal(err)
	}
	w.proxy.SetPolicy(guestAddr, p)
}

func domains(names ...string) policy.Policy { return policy.Policy{Domains: names} }

// serveHTTPS answers requests at an address' port 443 for hosts, by HTTP/1.1 and HTTP/2.
func (w *world) serveHTTPS(addr netip.Addr, handler http.Handler, names ...string) {
	w.t.Helper()
	w.serve(addr, "443", &http.Server{Handler: handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{w.hosts.of(w.t, names...)}}})
}

// serveHTTP answers requests at an address' port 80.
func (w *world) serveHTTP(addr netip.Addr, handler http.Handler) {
	w.t.Helper()
	w.serve(addr, "80", &http.Server{Handler: handler})
}

func (w *world) serve(addr netip.Addr, port string, server *http.Server) {
	w.t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr.String(), port))
	if err != nil {
		w.t.Fatal(err)
	}
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.ReadHeaderTimeout = time.Minute
	var wg sync.WaitGroup
	wg.Go(func() {
		serve := server.Serve
		if server.TLSConfig != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { _ = server.Close(); wg.Wait() })
}

// from dials the proxy as the endpoint at an address whose rules divert every connection.
func from(addr netip.Addr) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, _, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		to := map[string]string{"443": "61443", "80": "61080"}[port]
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: addr.AsSlice()}}
		return d.DialContext(ctx, "tcp", net.JoinHostPort(proxyAddr.String(), to))
	}
}

// client is an HTTP client inside the endpoint. roots are what it trusts.
func client(t *testing.T, roots *x509.CertPool, h2 bool) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	transport := &http.Transport{DialContext: from(guestAddr), TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: &protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// trusting returns what a sandbox with secrets trusts: the installation's authority alone, so that whatever else answers is noticed.
func (w *world) trusting() *x509.CertPool {
	w.t.Helper()
	text, err := w.authority.PEM()
	if err != nil {
		w.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

// body reads an answer's body.
func body(t *testing.T, resp *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// says answers with a text, the request's host and protocol.
func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, text+" "+r.Host+" "+r.Proto)
	})
}
