package authority

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
)

// at returns an authority in dir whose clock shows a time.
func at(dir string, now time.Time) *Authority {
	a := New(dir)
	a.now = func() time.Time { return now }
	return a
}

func trusted(t *testing.T, a *Authority) *x509.CertPool {
	t.Helper()
	text, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) || strings.Contains(string(text), "PRIVATE") {
		t.Fatalf("not certificates alone: %s", text)
	}
	return pool
}

func leaf(t *testing.T, a *Authority, host string) *tls.Certificate {
	t.Helper()
	l, err := a.Leaf(host)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func verify(l *tls.Certificate, pool *x509.CertPool, host string, now time.Time) error {
	_, err := l.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now})
	return err
}

func TestLeaves(t *testing.T) {
	t.Parallel()
	now := time.Now()
	dir := filepath.Join(t.TempDir(), "egress")
	a := at(dir, now)
	long := strings.Repeat("a", 60) + ".example.test"
	for _, host := range []string{"api.example.test", long} {
		l := leaf(t, a, host)
		if err := verify(l, trusted(t, a), host, now); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if err := verify(l, trusted(t, a), "other.example.test", now); err == nil {
			t.Errorf("%s: good for another host", host)
		}
		if leaf(t, a, host) != l {
			t.Errorf("%s: signed again", host)
		}
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	// The next process has the same, and a leaf can't sign.
	again := at(dir, now)
	if err := verify(leaf(t, again, "b.test"), trusted(t, a), "b.test", now); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if l := leaf(t, a, "c.test").Leaf; l.IsCA || l.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("a leaf is an authority")
	}
	for i := range MaxLeaves + 10 {
		leaf(t, a, fmt.Sprintf("h%d.test", i))
	}
	if len(a.leaves) > MaxLeaves {
		t.Errorf("%d leaves are kept", len(a.leaves))
	}
}

// TestRenewal follows an installation for years: whoever trusts what there is at its start trusts each leaf of the next year.
func TestRenewal(t *testing.T) {
	t.Parallel()
	dir, begin := t.TempDir(), time.Now()
	const month = 30 * 24 * time.Hour
	pools := map[time.Time]*x509.CertPool{}
	a := New(dir)
	for n := range 60 {
		now := begin.Add(time.Duration(n) * month)
		if n%7 == 0 {
			a = New(dir)
		}
		a.now = func() time.Time { return now }
		pools[now] = trusted(t, a)
		l := leaf(t, a, "a.test")
		for since, pool := range pools {
			if now.Sub(since) > 11*month {
				continue
			}
			if err := verify(l, pool, "a.test", now); err != nil {
				t.Fatalf("month %d, trusted since %s: %v", n, now.Sub(since), err)
			}
		}
		if left := l.Leaf.NotAfter.Sub(now); left > LeafLifetime || left < renewal {
			t.Fatalf("month %d: a leaf is good for %s", n, left)
		}
		if len(a.generations) > 2 {
			t.Fatalf("month %d: %d generations", n, len(a.generations))
		}
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	now := time.Now()
	one, two := t.TempDir(), t.TempDir()
	trusted(t, at(one, now))
	trusted(t, at(two, now))
	path := filepath.Join(one, fileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile(filepath.Join(two, fileName))
	if err != nil {
		t.Fatal(err)
	}
	cut := strings.Index(string(good), "-----BEGIN PRIVATE")
	for name, text := range map[string]string{
		"no key":        string(good[:cut]),
		"another's key": string(good[:cut]) + string(other[strings.Index(string(other), "-----BEGIN PRIVATE"):]),
		"key alone":     string(good[cut:]),
		"garbled":       strings.ReplaceAll(string(good), "MI", "MJ"),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := at(one, now).PEM(); !errors.Is(err, fault.Precondition) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := at(one, now).PEM(); !errors.Is(err, fault.Precondition) {
		t.Errorf("readable by all: %v", err)
	}
}
