package network

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
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// zone is what the tests' resolver knows.
type zone struct {
	mu    sync.Mutex
	names map[string]string
	ttl   string
	asked []string
}

func newZone() *zone {
	return &zone{ttl: "60", names: map[string]string{
		"api.test.": public, "www.api.test.": public, "other.test.": public2, "rebound.test.": private, "meta.test.": metadata, "self.test.": uplinkHost, "raw.test.": uplinkRouter,
	}}
}

// ServeDNS answers questions for addresses, and those for services with one that hints at QUIC.
func (z *zone) ServeDNS(rw mdns.ResponseWriter, q *mdns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	asked := q.Question[0]
	z.asked = append(z.asked, asked.Name)
	m := new(mdns.Msg).SetReply(q)
	addr, ok := z.names[strings.ToLower(asked.Name)]
	var record string
	switch {
	case !ok:
		m.Rcode = mdns.RcodeNameError
	case asked.Qtype == mdns.TypeA:
		record = asked.Name + " " + z.ttl + " IN A " + addr
	case asked.Qtype == mdns.TypeAAAA:
		record = asked.Name + " " + z.ttl + " IN AAAA 2001:db8::1"
	case asked.Qtype == mdns.TypeHTTPS:
		record = asked.Name + ` 60 IN HTTPS 1 . alpn="h3"`
	}
	if rr, err := mdns.NewRR(record); err == nil && rr != nil {
		m.Answer = append(m.Answer, rr)
	}
	_ = rw.WriteMsg(m)
}

func (z *zone) hasBeenAsked(name string) bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, a := range z.asked {
		if strings.EqualFold(a, name+".") {
			return true
		}
	}
	return false
}

// webWorld is a world with names, and hosts that serve HTTP, HTTPS and an echo.
type webWorld struct {
	*world

	zone  *zone
	roots string // file of the hosts' authority
	pool  *x509.CertPool
}

func newWebWorld(t testing.TB) *webWorld {
	t.Helper()
	w := &webWorld{world: newWorld(t), zone: newZone()}
	serveDNS(t, w.world, w.zone)
	certs := newHostCertificates(t, "api.test", "www.api.test", "other.test", "rebound.test")
	w.pool = x509.NewCertPool()
	w.pool.AddCert(certs.Leaf)
	w.roots = filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(w.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs.Leaf.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{public, public2, private, metadata} {
		says := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/large" {
				_, _ = rw.Write(make([]byte, largePage))
				return
			}
			_, _ = io.WriteString(rw, address+" "+r.Host+" "+r.Header.Get("Authorization"))
		})
		serveWeb(t, w.path, address+":80", &http.Server{Handler: says})
		serveWeb(t, w.path, address+":443", &http.Server{Handler: says, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certs}}})
	}
	serveEcho(t, w.path)
	return w
}

// start runs a network whose proxy trusts the hosts.
func (w *webWorld) start() *Network {
	w.t.Helper()
	return startNetwork(w.t, func(c *Config) {
		c.ExtraRoots, c.AuthorityDir = w.roots, filepath.Join(w.t.TempDir(), "authority")
	})
}

// largePage is the size of /large, in bytes.
const largePage = 8 << 20

// newHostCertificates returns one certificate for names, which is its own authority.
func newHostCertificates(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hosts"}, DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

// serveWeb serves in a namespace until the test ends.
func serveWeb(t testing.TB, namespace, address string, server *http.Server) {
	t.Helper()
	var l net.Listener
	err := within(namespace, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	var wg sync.WaitGroup
	wg.Go(func() {
		serve := server.Serve
		if server.TLSConfig != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() { _ = server.Close(); wg.Wait() })
}

// client is an HTTP client in an endpoint, which connects to address whatever a URL says, unless that is empty: then it asks for the name
// as programs do.
func (w *webWorld) client(e *container.Endpoint, address string, h2 bool) *http.Client {
	var protocols http.Protocols
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: w.pool}, Protocols: &protocols,
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(to)
			if err != nil {
				return nil, err
			}
			at := address
			if at == "" {
				if at, err = w.look(e, host); err != nil {
					return nil, err
				}
			}
			var c net.Conn
			err = within(e.NetnsPath, func() (err error) {
				var d net.Dialer
				c, err = d.DialContext(ctx, "tcp", net.JoinHostPort(at, port))
				return err
			})
			return c, err
		},
	}}
}

// get asks for a URL.
func (w *webWorld) get(e *container.Endpoint, url, address string, timeout time.Duration) (string, error) {
	client := w.client(e, address, false)
	client.Timeout = timeout
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status + ": " + string(text))
	}
	return string(text), err
}

// look asks the endpoint's name server for a name.
func (w *webWorld) look(e *container.Endpoint, name string) (string, error) {
	reply, err := lookup(e, "udp", e.Nameserver, name+".")
	if err != nil {
		return "", err
	}
	for _, rr := range reply.Answer {
		if a, ok := rr.(*mdns.A); ok {
			return a.A.String(), nil
		}
	}
	return "", errors.New(name + ": " + mdns.RcodeToString[reply.Rcode])
}

func (w *webWorld) wantPage(e *container.Endpoint, url, address, want string) {
	w.t.Helper()
	if got, err := w.get(e, url, address, dialTimeout); err != nil || !strings.HasPrefix(got, want) {
		w.t.Errorf("%s at %q: got %q, %v; want %q", url, address, got, err, want)
	}
}

func (w *webWorld) wantNoPage(e *container.Endpoint, url, address string) {
	w.t.Helper()
	if got, err := w.get(e, url, address, closedProbes); err == nil {
		w.t.Errorf("%s at %q: got %q", url, address, got)
	}
}

func domains(names ...string) policy.Policy { return policy.Policy{Domains: names} }
