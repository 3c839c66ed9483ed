package ingress

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/skerry-dev/skerry/gateway/route"
	"github.com/skerry-dev/skerry/internal/fault"
)

// KeyPair names the PEM files of a certificate chain and its key.
type KeyPair struct{ Cert, Key string }

// checkFiles is how old what is known of the files may be: renewed certificates are taken without a restart.
const checkFiles = 10 * time.Second

// certificates are those of host names, as their files have them.
type certificates struct {
	log   *slog.Logger
	pairs []KeyPair
	now   func() time.Time

	mu      sync.Mutex
	loaded  []tls.Certificate
	times   []time.Time // of the files, by pair the later one
	checked time.Time
}

func loadCertificates(cfg Config, log *slog.Logger) (*certificates, error) {
	n := len(cfg.Certificates)
	c := &certificates{
		log: log, pairs: cfg.Certificates, now: cfg.Now, loaded: make([]tls.Certificate, n), times: make([]time.Time, n), checked: cfg.Now(),
	}
	for i := range n {
		if err := c.load(i); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *certificates) load(i int) error {
	at, err := changedAt(c.pairs[i])
	if err == nil {
		var cert tls.Certificate
		if cert, err = tls.LoadX509KeyPair(c.pairs[i].Cert, c.pairs[i].Key); err == nil {
			c.loaded[i], c.times[i] = cert, at
			return nil
		}
	}
	return fault.New(fault.Invalid, "ingress_cert %q with ingress_key %q: %w", c.pairs[i].Cert, c.pairs[i].Key, err)
}

func changedAt(p KeyPair) (time.Time, error) {
	cert, err := os.Stat(p.Cert)
	if err != nil {
		return time.Time{}, err
	}
	key, err := os.Stat(p.Key)
	if err != nil {
		return time.Time{}, err
	}
	if key.ModTime().After(cert.ModTime()) {
		return key.ModTime(), nil
	}
	return cert.ModTime(), nil
}

// current returns the certificates, read again where their files have changed. Files that can't be read leave those that were.
func (c *certificates) current() []tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.checked) < checkFiles {
		return c.loaded
	}
	c.checked = now
	for i, p := range c.pairs {
		at, err := changedAt(p)
		if err == nil && at.Equal(c.times[i]) {
			continue
		}
		kept := append([]tls.Certificate(nil), c.loaded...) // handshakes have the old list
		c.loaded = kept
		if err := c.load(i); err != nil {
			c.log.Warn("certificate is not renewed; the one before is used on", "error", err)
		}
	}
	return c.loaded
}

// covers says whether a certificate is for a name.
func (c *certificates) covers(name string) bool {
	for _, cert := range c.current() {
		if cert.Leaf != nil && cert.Leaf.VerifyHostname(name) == nil {
			return true
		}
	}
	return false
}

// choose returns the certificate for what a visitor asks for.
func (c *certificates) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	list := c.current()
	for i := range list {
		if hello.SupportsCertificate(&list[i]) == nil {
			return &list[i], nil
		}
	}
	return &list[0], nil // its visitor sees that the name is another
}

// config offers HTTP/2 for routes whose end speaks it, and HTTP/1.1 for all.
func (c *certificates) config(routes route.Routes) *tls.Config {
	with := func(protocols ...string) *tls.Config {
		return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.choose, NextProtos: protocols}
	}
	plain, h2 := with("http/1.1"), with("h2", "http/1.1")
	plain.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if to, err := routes.Find(hostOf(hello.ServerName)); err == nil && to.Protocol == route.H2C {
			return h2, nil
		}
		return nil, nil //nolint:nilnil // the configuration itself
	}
	return plain
}
