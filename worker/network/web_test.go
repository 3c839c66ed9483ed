package network

import (
	"bytes"
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

// TestDomains tries a list of names from inside, by name, under other names, and by address.
func TestDomains(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-domains", domains("api.test", "*.api.test", "rebound.test", "meta.test", "self.test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("listed", func(t *testing.T) {
		for _, host := range []string{"api.test", "www.api.test"} {
			w.wantPage(e, "https://"+host, "", public+" "+host)
			w.wantPage(e, "http://"+host, "", public+" "+host)
		}
	})
	t.Run("a listed name at another address leads to the name's own", func(t *testing.T) {
		for _, address := range []string{public2, private, metadata, "192.0.2.77"} {
			w.wantPage(e, "https://api.test", address, public+" api.test")
			w.wantPage(e, "http://api.test", address, public+" api.test")
		}
	})
	t.Run("not listed", func(t *testing.T) {
		if got, err := w.look(e, "other.test"); err == nil || !strings.Contains(err.Error(), "NXDOMAIN") {
			t.Errorf("resolved: %q, %v", got, err)
		}
		for _, address := range []string{public, public2} {
			w.wantNoPage(e, "https://other.test", address)
			w.wantNoPage(e, "http://other.test", address)
			w.wantNoPage(e, "https://"+address, address)
			w.wantNoPage(e, "http://"+address, address)
		}
		if w.zone.hasBeenAsked("other.test") {
			t.Error("a name that is not listed was passed on")
		}
	})
	t.Run("listed, and leads to where nobody may go", func(t *testing.T) {
		for _, host := range []string{"rebound.test", "meta.test", "self.test"} {
			w.wantNoPage(e, "https://"+host, "")
			w.wantNoPage(e, "http://"+host, "")
			if address, err := w.look(e, host); err != nil {
				t.Error(err)
			} else {
				wantClosed(t, e, address+":"+echoPort)
			}
		}
	})
	t.Run("other ports", func(t *testing.T) {
		wantClosed(t, e, public2+":"+echoPort)
		if _, err := w.look(e, "api.test"); err != nil {
			t.Fatal(err)
		}
		wantAlive(t, "after its name was asked for", connect(t, e, public+":"+echoPort))
		wantClosed(t, e, public2+":"+echoPort)
	})
	t.Run("quic", func(t *testing.T) { wantNoDatagram(t, w.world, e, public) })
	t.Run("hints", func(t *testing.T) {
		reply, err := ask(e, mdns.TypeHTTPS, "api.test.")
		if err != nil || reply.Rcode != mdns.RcodeSuccess || len(reply.Answer) > 0 {
			t.Errorf("got %v, %v", reply, err)
		}
	})
	t.Run("ipv6", func(t *testing.T) {
		reply, err := ask(e, mdns.TypeAAAA, "api.test.")
		if err != nil || len(reply.Answer) != 1 {
			t.Errorf("got %v, %v", reply, err)
		}
		err = within(e.NetnsPath, func() error {
			_, err := net.DialTimeout("tcp", "[2001:db8::1]:443", closedProbes)
			return err
		})
		if err == nil {
			t.Error("IPv6 leads somewhere")
		}
	})
	t.Run("odd questions", func(t *testing.T) {
		for _, q := range []*mdns.Msg{
			new(mdns.Msg).SetQuestion("192.0.2.1.", mdns.TypeA), new(mdns.Msg).SetQuestion(".", mdns.TypeNS), new(mdns.Msg).SetQuestion("api.test.evil.test.", mdns.TypeTXT),
			{MsgHdr: mdns.MsgHdr{Opcode: mdns.OpcodeNotify}, Question: []mdns.Question{{Name: "api.test.", Qtype: mdns.TypeSOA, Qclass: mdns.ClassINET}}},
			{Question: []mdns.Question{{Name: "api.test.", Qtype: mdns.TypeTXT, Qclass: mdns.ClassCHAOS}}},
		} {
			if reply, err := question(e, q); err == nil && (reply.Rcode == mdns.RcodeSuccess || len(reply.Answer) > 0) {
				t.Errorf("%v: got %v", q, reply)
			}
		}
	})
	t.Run("the spelling of a question is the asker's", func(t *testing.T) {
		reply, err := ask(e, mdns.TypeA, "ApI.tEst.")
		if err != nil || reply.Question[0].Name != "ApI.tEst." || len(reply.Answer) != 1 {
			t.Errorf("got %v, %v", reply, err)
		}
		w.zone.mu.Lock()
		defer w.zone.mu.Unlock()
		if last := w.zone.asked[len(w.zone.asked)-1]; last != "api.test." {
			t.Errorf("passed on as %q", last)
		}
	})
}

// wantNoDatagram sends one to port 443 and another, which arrives, by a way that is open to everybody.
func wantNoDatagram(t *testing.T, w *world, e *container.Endpoint, address string) {
	t.Helper()
	var c net.PacketConn
	if err := within(w.path, func() (err error) {
		c, err = net.ListenPacket("udp4", address+":443")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = within(e.NetnsPath, func() error {
		out, err := net.Dial("udp4", address+":443")
		if err != nil {
			return err
		}
		defer out.Close()
		_, err = out.Write([]byte("quic"))
		return err
	})
	if got := silence(t, c); got != "" {
		t.Errorf("UDP to port 443 arrived: %q", got)
	}
}

func ask(e *container.Endpoint, kind uint16, name string) (*mdns.Msg, error) {
	return question(e, new(mdns.Msg).SetQuestion(name, kind))
}

func question(e *container.Endpoint, q *mdns.Msg) (reply *mdns.Msg, err error) {
	err = within(e.NetnsPath, func() (err error) {
		c := &mdns.Client{Net: "udp", Timeout: dialTimeout}
		reply, _, err = c.Exchange(q, net.JoinHostPort(e.Nameserver, "53"))
		return err
	})
	return reply, err
}

// TestEveryDomain: the list that has every name is still one of names.
func TestEveryDomain(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-every", domains("*"))
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(e, "https://other.test", "", public2)
	w.wantPage(e, "http://api.test", "", public)
	w.wantNoPage(e, "http://"+public, public)
	wantAlive(t, "an address of a name", connect(t, e, public2+":"+echoPort))
	wantClosed(t, e, uplinkRouter+":"+echoPort)
}

// TestBothLists: what one of the lists has is open.
func TestBothLists(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-both", policy.Policy{CIDRs: prefixes(public2 + "/32"), Domains: []string{"api.test"}})
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(e, "https://api.test", "", public)
	w.wantPage(e, "https://other.test", public2, public2) // directly
	w.wantPage(e, "http://"+public2, public2, public2)
	wantAlive(t, "an address of the list", connect(t, e, public2+":"+echoPort))
	w.wantNoPage(e, "https://other.test", public)
	if _, err := w.look(e, "other.test"); err == nil {
		t.Error("a name that is not listed is answered")
	}
}

// TestDomainChanges changes lists of names while connections are in use.
func TestDomainChanges(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e := acquire(t, n, false)
	set := func(p policy.Policy) {
		t.Helper()
		if err := n.SetPolicy(e, p); err != nil {
			t.Fatal(err)
		}
	}
	direct := connect(t, e, public+":443") // of the time when it was open
	set(domains("api.test", "other.test"))
	if _, err := direct.Write([]byte("x")); err == nil {
		_ = direct.SetReadDeadline(time.Now().Add(closedProbes))
		if n, err := direct.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("a connection of the open time goes round the proxy")
		}
	}
	for _, host := range []string{"api.test", "other.test"} {
		if _, err := w.look(e, host); err != nil {
			t.Fatal(err)
		}
	}
	kept, cut := connect(t, e, public+":"+echoPort), connect(t, e, public2+":"+echoPort)
	wantAlive(t, "listed", cut)
	set(domains("api.test"))
	wantAlive(t, "still listed", kept)
	wantCut(t, "not listed any more", cut)
	wantClosed(t, e, public2+":"+echoPort)
	wantAlive(t, "still known", connect(t, e, public+":"+echoPort))
	w.wantNoPage(e, "https://other.test", public2)
	w.wantPage(e, "https://api.test", "", public)
	set(policy.Policy{Block: true})
	wantCut(t, "blocked", kept)
	w.wantNoPage(e, "https://api.test", public)
	set(policy.Policy{})
	w.wantPage(e, "https://other.test", "", public2)
	w.wantPage(e, "http://"+public2, public2, public2)
}

// TestForgotten: an address stays open as long as its name's answer lasts; a connection to it lasts longer.
func TestForgotten(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e, err := n.AcquireWith(t.Context(), "sb-forgotten", domains("api.test"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.look(e, "api.test"); err != nil {
		t.Fatal(err)
	}
	c := connect(t, e, public+":"+echoPort)
	set := learnedSet(t, e.Interface)
	run(t, "nft", "flush", "set", "inet", tableName(instance), set) // as the kernel does in the end
	wantAlive(t, "after its address was forgotten", c)
	wantClosed(t, e, public+":"+echoPort)
}

// learnedSet is the name of an endpoint's set of learned addresses.
func learnedSet(t *testing.T, iface string) string {
	t.Helper()
	for line := range strings.SplitSeq(run(t, "nft", "list", "sets", "inet"), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "set" && strings.HasPrefix(fields[1], "learned_"+iface+"_") {
			return fields[1]
		}
	}
	t.Fatal("no set of learned addresses")
	return ""
}

// TestProxyDown: without the worker's process nothing is open that goes by it.
func TestProxyDown(t *testing.T) {
	w := newWebWorld(t)
	cfg := testConfig(t.TempDir())
	cfg.ExtraRoots, cfg.AuthorityDir = w.roots, t.TempDir()
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	listed, err := n.AcquireWith(t.Context(), "sb-listed", domains("api.test"))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := n.AcquireWith(t.Context(), "sb-secret", withSecret())
	if err != nil {
		t.Fatal(err)
	}
	w.wantPage(listed, "https://api.test", "", public)
	w.wantPage(secret, "https://other.test", "", public2)
	cancel()
	if err := <-ended; err != nil { // its rules are there until it is closed
		t.Fatal(err)
	}
	for _, e := range []*container.Endpoint{listed, secret} {
		for _, address := range []string{public, public2} {
			w.wantNoPage(e, "https://api.test", address)
			w.wantNoPage(e, "https://other.test", address)
		}
		wantNoDatagram(t, w.world, e, public)
	}
	w.wantNoPage(listed, "http://api.test", public)
	w.wantPage(secret, "http://api.test", public, public) // open, and no business of the proxy
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

func withSecret() policy.Policy {
	return policy.Policy{Secrets: []policy.Secret{{Hosts: []string{"api.test"}, Header: "Authorization", Value: policy.NewValue("Bearer hush-hush")}}}
}

// TestSecrets: one host's requests get the secret, all others pass as they are, and nothing else goes to port 443.
func TestSecrets(t *testing.T) {
	w := newWebWorld(t)
	n := w.start()
	e := acquire(t, n, false)
	set := func(p policy.Policy) {
		t.Helper()
		if err := n.SetPolicy(e, p); err != nil {
			t.Fatal(err)
		}
	}
	w.wantPage(e, "https://api.test", "", public+" api.test ")
	set(withSecret())
	w.wantNoPage(e, "https://api.test", "") // its client doesn't trust the installation
	text, err := n.CA()
	if err != nil || !bytes.Contains(text, []byte("CERTIFICATE")) || bytes.Contains(text, []byte("KEY")) {
		t.Fatalf("CA: %s, %v", text, err)
	}
	w.pool.AppendCertsFromPEM(text)
	w.wantPage(e, "https://api.test", "", public+" api.test Bearer hush-hush")
	w.wantPage(e, "https://api.test", public2, public+" api.test Bearer hush-hush")
	w.wantPage(e, "https://other.test", "", public2+" other.test ")
	w.wantPage(e, "http://api.test", "", public+" api.test ") // never without TLS
	w.wantNoPage(e, "https://"+public, public)
	w.wantNoPage(e, "https://rebound.test", "")
	wantNoDatagram(t, w.world, e, public)
	wantAlive(t, "other ports", connect(t, e, public2+":"+echoPort))
	if got, err := w.get(e, "https://other.test", "", dialTimeout); err != nil || strings.Contains(got, "hush") {
		t.Errorf("another host: %q, %v", got, err)
	}
	p := withSecret()
	p.CIDRs, p.Domains = prefixes(public2+"/32"), []string{"api.test"}
	set(p)
	w.wantPage(e, "https://api.test", "", public+" api.test Bearer hush-hush")
	w.wantNoPage(e, "https://other.test", public2) // by name alone, though its address is listed
	wantAlive(t, "a listed address", connect(t, e, public2+":"+echoPort))
	set(policy.Policy{})
	w.wantPage(e, "https://api.test", "", public+" api.test ")
}
