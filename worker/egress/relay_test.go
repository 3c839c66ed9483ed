package egress

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/worker/network/policy"
)

// handshake connects to the proxy and says a hello for name; it returns what the other end's certificate is for.
func handshake(t *testing.T, w *world, config *tls.Config) (*tls.Conn, error) {
	t.Helper()
	raw, err := from(guestAddr)(t.Context(), "tcp", "x:443")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	if config.RootCAs == nil {
		config.RootCAs = w.hosts.pool()
	}
	c := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return c, c.HandshakeContext(ctx)
}

func TestServerNames(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, says("host"), "api.test", "sub.api.test", "other.test")
	w.serveHTTPS(evilAddr, says("evil"), "evil.test")
	for _, c := range []struct {
		policy policy.Policy
		name   string
		ok     bool
	}{
		{domains("api.test"), "api.test", true}, {domains("api.test"), "API.Test", true}, {domains("api.test"), "sub.api.test", false},
		{domains("*.api.test"), "sub.api.test", true}, {domains("*.api.test"), "api.test", false}, {domains("*"), "evil.test", true},
		{domains("api.test"), "evil.test", false}, {domains("nowhere.test"), "nowhere.test", false}, {policy.Policy{Domains: []string{}}, "api.test", false},
		{domains("private.test"), "private.test", false}, {policy.Policy{}, "evil.test", true}, {policy.Policy{Block: true}, "api.test", false},
	} {
		w.set(c.policy)
		conn, err := handshake(t, w, &tls.Config{ServerName: c.name})
		if (err == nil) != c.ok {
			t.Errorf("%v, name %s: %v; want ok %t", c.policy.Domains, c.name, err, c.ok)
		}
		if err == nil && conn.ConnectionState().PeerCertificates[0].VerifyHostname(c.name) != nil {
			t.Errorf("%s: another host answered", c.name)
		}
	}
	if w.resolved["evil.test"] != 1 || w.resolved["sub.api.test"] != 1 { // each once where it is allowed
		t.Errorf("names that are not listed were asked for: %v", w.resolved)
	}
}

// TestNoName: what no name can be read of goes nowhere, whatever is listed.
func TestNoName(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, says("host"), "api.test")
	w.set(domains("*"))
	if _, err := handshake(t, w, &tls.Config{InsecureSkipVerify: true}); err == nil {
		t.Error("a hello without a name gets through")
	}
	for name, text := range map[string]string{
		"http":  "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n",
		"ssh":   "SSH-2.0-test\r\n",
		"noise": strings.Repeat("\x00", 1000),
		"large": "\x16\x03\x01\xff\xff" + strings.Repeat("\x01", MaxHello),
	} {
		conn, err := from(guestAddr)(t.Context(), "tcp", "x:443")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() || len(got) > 7 {
			t.Errorf("%s: got %q, %v; want an alert and the end", name, got, err)
		}
		_ = conn.Close()
	}
}

// TestEncryptedHello: the name that counts may be the one that only the server can read.
func TestEncryptedHello(t *testing.T) {
	w := newWorld(t)
	key, config := echKey(t, "api.test")
	server := &http.Server{Handler: says("host"), TLSConfig: &tls.Config{
		Certificates:             []tls.Certificate{w.hosts.of(t, "api.test", "hidden.test")},
		EncryptedClientHelloKeys: []tls.EncryptedClientHelloKey{key},
	}}
	w.serve(hostAddr, "443", server)
	hidden := func() (bool, error) {
		c, err := handshake(t, w, &tls.Config{ServerName: "hidden.test", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: config})
		return err == nil && c.ConnectionState().ECHAccepted, err
	}
	w.set(domains("*"))
	if ok, err := hidden(); !ok {
		t.Errorf("where every name is allowed: %v", err)
	}
	w.set(domains("api.test"))
	if _, err := hidden(); err == nil {
		t.Error("a hidden name gets through under the name of a listed one")
	}
	if _, err := handshake(t, w, &tls.Config{ServerName: "api.test"}); err != nil {
		t.Errorf("the listed name itself: %v", err)
	}
}

// TestRelay sends much both ways at once, through halves that close one after the other.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	cert := w.hosts.of(t, "api.test")
	l, err := tls.Listen("tcp", hostAddr.String()+":443", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		sum := sha256.New()
		if _, err := io.Copy(sum, c); err != nil { // until the client has said all
			t.Error(err)
		}
		_, _ = c.Write(sum.Sum(nil))
	})
	w.set(domains("api.test"))
	c, err := handshake(t, w, &tls.Config{ServerName: "api.test"})
	if err != nil {
		t.Fatal(err)
	}
	text := bytes.Repeat([]byte("0123456789abcdef"), 4<<16)
	if _, err := c.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	want := sha256.Sum256(text)
	if err != nil || !bytes.Equal(got, want[:]) {
		t.Errorf("got %x, %v", got, err)
	}
}

// TestRelayIsCut: a change ends what it doesn't allow and leaves the rest.
func TestRelayIsCut(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	defer close(hold)
	w.serveHTTPS(hostAddr, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}), "api.test", "other.test")
	w.set(domains("api.test", "other.test"))
	open := func(name string) io.Reader {
		t.Helper()
		resp, err := client(t, w.hosts.pool(), false).Get("https://" + name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp.Body
	}
	cut, kept := open("other.test"), open("api.test")
	w.set(domains("api.test"))
	if _, err := io.ReadAll(cut); err == nil {
		t.Error("a relay that the policy doesn't allow any more ended as if all were said")
	}
	over := make(chan error, 1)
	go func() { _, err := io.ReadAll(kept); over <- err }()
	if _, err := handshake(t, w, &tls.Config{ServerName: "api.test"}); err != nil { // which takes longer than a cut
		t.Error(err)
	}
	select {
	case err := <-over:
		t.Errorf("a relay that it allows was cut: %v", err)
	default:
	}
	w.proxy.Forget(guestAddr)
	if err := <-over; err == nil {
		t.Error("forgotten: ended as if all were said")
	}
	if _, err := handshake(t, w, &tls.Config{ServerName: "api.test"}); err == nil {
		t.Error("a forgotten endpoint connects")
	}
}

// TestStop ends the proxy while relays are in use.
func TestStop(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), "api.test")
	w.set(domains("api.test"))
	c, err := handshake(t, w, &tls.Config{ServerName: "api.test"})
	if err != nil {
		t.Fatal(err)
	}
	idle, err := from(guestAddr)(t.Context(), "tcp", "x:443") // says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	w.stop()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the relay ended as if all were said")
	}
	if _, err := from(guestAddr)(t.Context(), "tcp", "x:443"); err == nil {
		t.Error("somebody still listens")
	}
}

// TestStrangers: only endpoints that the proxy was told of are served, each within its bounds.
func TestStrangers(t *testing.T) {
	w := newWorld(t)
	w.serveHTTPS(hostAddr, says("host"), "api.test")
	w.set(domains("api.test"))
	stranger, err := from(otherAddr)(t.Context(), "tcp", "x:443")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := stranger.Read(make([]byte, 1)); err == nil {
		t.Errorf("a stranger hears %d bytes", n)
	}
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for range MaxConnections {
		c, err := from(guestAddr)(t.Context(), "tcp", "x:443")
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	// They are accepted in order, so this one is too many by the time it is looked at.
	if _, err := handshake(t, w, &tls.Config{ServerName: "api.test"}); err == nil {
		t.Error("no bound on connections")
	}
	for _, c := range open {
		_ = c.Close()
	}
	other, err := policy.Policy{Domains: []string{"api.test"}}.Normal()
	if err != nil {
		t.Fatal(err)
	}
	w.proxy.SetPolicy(otherAddr, other)
	raw, err := from(otherAddr)(t.Context(), "tcp", "x:443")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	if err := tls.Client(raw, &tls.Config{ServerName: "api.test", RootCAs: w.hosts.pool()}).HandshakeContext(t.Context()); err != nil {
		t.Errorf("another endpoint meanwhile: %v", err)
	}
}

// echKey returns a server's key for encrypted hellos and the list of configurations that clients are given.
func echKey(t *testing.T, publicName string) (tls.EncryptedClientHelloKey, []byte) {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	contents := []byte{7, 0x00, 0x20} // id, KEM X25519
	contents = append(binary.BigEndian.AppendUint16(contents, uint16(len(public))), public...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 64, byte(len(publicName))) // one suite, the longest name
	contents = append(append(contents, publicName...), 0, 0)                 // no extensions
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(contents)))
	config = append(config, contents...)
	list := append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
	return tls.EncryptedClientHelloKey{Config: config, PrivateKey: key.Bytes()}, list
}
