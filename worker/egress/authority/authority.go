// Package authority is the certificate authority of an installation: it signs the certificates with which the egress proxy answers for
// hosts whose requests get secrets. Only sandboxes that have such secrets are told to trust it.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"sync"
	"time"
)

// Lifetimes of certificates.
const (
	// Lifetime is an authority's. In the last half of it the next one is there as well, so that whoever trusts all that PEM returned when it
	// began can live for a year at least.
	Lifetime = 2 * 365 * 24 * time.Hour
	// LeafLifetime is that of a host's certificate.
	LeafLifetime = 7 * 24 * time.Hour
	// renewal is how long before its end a certificate is not used any more.
	renewal = 24 * time.Hour
	// skew is how far clocks in sandboxes may be behind.
	skew = time.Hour
)

// MaxLeaves is how many hosts' certificates are kept.
const MaxLeaves = 1024

// Authority signs certificates. Its methods may be called concurrently.
type Authority struct {
	dir string
	now func() time.Time

	mu          sync.Mutex
	generations []*generation // oldest first; empty until first use
	leafKey     *ecdsa.PrivateKey
	leaves      map[string]*tls.Certificate
}

// generation is one certificate of the authority and its key.
type generation struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// New returns an authority whose certificates and keys are in dir, which only its owner may read. They are made at first use.
func New(dir string) *Authority {
	return &Authority{dir: dir, now: time.Now, leaves: map[string]*tls.Certificate{}}
}

// PEM returns the certificates to trust: one, or two while a new one takes over. Errors: those of the folder.
func (a *Authority) PEM() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.prepare(); err != nil {
		return nil, err
	}
	var out []byte
	for _, g := range a.generations {
		out = append(out, encode(blockCertificate, g.certificate.Raw)...)
	}
	return out, nil
}

// Leaf returns a certificate for a host name.
func (a *Authority) Leaf(host string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.prepare(); err != nil {
		return nil, err
	}
	if have := a.leaves[host]; have != nil && a.now().Before(have.Leaf.NotAfter.Add(-renewal)) {
		return have, nil
	}
	leaf, err := a.sign(host)
	if err != nil {
		return nil, fmt.Errorf("certificate of host %q: %w", host, err)
	}
	if len(a.leaves) >= MaxLeaves {
		for some := range a.leaves { // any: signing another takes a tenth of a millisecond
			delete(a.leaves, some)
			break
		}
	}
	a.leaves[host] = leaf
	return leaf, nil
}

// prepare sees to it that there are generations to trust and one to sign with; a.mu is held.
func (a *Authority) prepare() error {
	if len(a.generations) == 0 {
		found, err := load(a.dir)
		if err != nil {
			return err
		}
		a.generations = found
	}
	now := a.now()
	for len(a.generations) > 0 && !now.Before(a.generations[0].certificate.NotAfter) {
		a.generations = a.generations[1:]
	}
	if n := len(a.generations); n > 0 && now.Before(a.generations[n-1].certificate.NotAfter.Add(-Lifetime/2)) {
		return nil
	}
	next, err := generate(now)
	if err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	all := append(a.generations[:len(a.generations):len(a.generations)], next)
	if err := store(a.dir, all); err != nil {
		return err
	}
	a.generations = all
	return nil
}

// sign makes a certificate with the oldest generation that outlives it, which more sandboxes trust than a newer one; a.mu is held.
func (a *Authority) sign(host string) (*tls.Certificate, error) {
	if a.leafKey == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		a.leafKey = key
	}
	now := a.now()
	by := a.generations[0]
	for _, g := range a.generations {
		if by = g; now.Add(LeafLifetime).Before(g.certificate.NotAfter) {
			break
		}
	}
	template, err := newTemplate(host, now, LeafLifetime)
	if err != nil {
		return nil, err
	}
	template.DNSNames = []string{host}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	raw, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &a.leafKey.PublicKey, by.key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(raw)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: a.leafKey, Leaf: parsed}, nil
}

// generate makes a new generation.
func generate(now time.Time) (*generation, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template, err := newTemplate("Skerry egress "+now.UTC().Format("2006-01-02"), now, Lifetime)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid, template.MaxPathLenZero = true, true, true
	template.KeyUsage = x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(raw)
	return &generation{parsed, key}, err
}

func newTemplate(name string, now time.Time, lifetime time.Duration) (*x509.Certificate, error) {
	const serialBits = 127
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, err
	}
	// A common name has at most 64 bytes; what it is for is in the alternative names.
	const most = 64
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Skerry"}, CommonName: name[:min(len(name), most)]},
		NotBefore: now.Add(-skew), NotAfter: now.Add(lifetime),
	}, nil
}
