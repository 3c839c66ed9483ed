package place

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// newPlace returns a place whose image is a folder with these files.
func newPlace(t *testing.T, files map[string]string) *Place {
	t.Helper()
	p := New()
	p.root = t.TempDir()
	for path, text := range files {
		path = p.at(path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *Place) text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(p.at(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCertificates(t *testing.T) {
	p := newPlace(t, map[string]string{bundles[0]: "image", "/elsewhere.pem": "linked\n"})
	if err := os.MkdirAll(p.at("/etc/pki/tls/certs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(p.at("/elsewhere.pem"), p.at(bundles[1])); err != nil {
		t.Fatal(err)
	}
	for _, ca := range []string{"first\n", "second"} { // again replaces
		if err := p.Configure(Settings{Env: map[string]string{"PIP_CERT": "own"}, Certificates: ca}); err != nil {
			t.Fatal(err)
		}
	}
	ours := beginMark + "\nsecond\n" + endMark + "\n"
	for path, want := range map[string]string{bundles[0]: "image\n" + ours, "/elsewhere.pem": "linked\n" + ours, ownCertificates: ours} {
		if got := p.text(t, path); got != want {
			t.Errorf("%s has %q, want %q", path, got, want)
		}
	}
	if st, err := os.Stat(p.at(bundles[0])); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("the mode changed: %v, %v", st, err)
	}
	env, err := p.Environment(nil, map[string]string{"CURL_CA_BUNDLE": "mine"})
	if err != nil || env["SSL_CERT_FILE"] != bundles[0] || env["PIP_CERT"] != "own" || env["CURL_CA_BUNDLE"] != "mine" || env["NODE_EXTRA_CA_CERTS"] != ownCertificates {
		t.Errorf("environment %v, %v", env, err)
	}
	// An image without any has what Python brings.
	p = newPlace(t, map[string]string{"/usr/local/lib/python3.12/site-packages/pip/_vendor/certifi/cacert.pem": "python's\n"})
	if err := p.Configure(Settings{Certificates: "second"}); err != nil {
		t.Fatal(err)
	}
	if got := p.text(t, bundles[0]); got != "python's\n"+ours {
		t.Errorf("the bundle has %q", got)
	}
}

func TestHosts(t *testing.T) {
	p := newPlace(t, map[string]string{"/etc/hosts": "127.0.0.1 localhost"})
	for range 2 {
		if err := p.Configure(Settings{Hosts: "10.0.0.2 sidecar\n"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.text(t, "/etc/hosts"); got != "127.0.0.1 localhost\n"+beginMark+"\n10.0.0.2 sidecar\n"+endMark+"\n" {
		t.Errorf("hosts %q", got)
	}
	if err := p.Configure(Settings{}); err != nil || !strings.Contains(p.text(t, "/etc/hosts"), "sidecar") {
		t.Errorf("hosts did not stay as they were: %v", err)
	}
}

// TestHostileFiles: an image may have anything where we look.
func TestHostileFiles(t *testing.T) {
	p := newPlace(t, map[string]string{"/etc/passwd": ""})
	if err := unix.Mkfifo(p.at("/etc/hosts"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Configure(Settings{Hosts: "10.0.0.2 x"}); !errors.Is(err, fault.Invalid) {
		t.Errorf("a pipe: %v", err)
	}
	if left, err := filepath.Glob(p.at("/etc/.skerry*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSealed(t *testing.T) {
	p := New()
	for i := range MaxSealed {
		if err := p.Seal(fmt.Sprint("se-", i), map[string]string{"N": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Seal("one more", nil); !errors.Is(err, fault.Exhausted) {
		t.Errorf("one more: %v", err)
	}
	if err := p.Seal("se-3", map[string]string{"N": "again"}); err != nil {
		t.Errorf("again: %v", err)
	}
	env, err := p.Environment([]string{"se-5", "se-3"}, nil)
	if err != nil || env["N"] != "again" {
		t.Errorf("environment %v, %v", env, err)
	}
	if _, err := p.Environment([]string{"no"}, nil); !errors.Is(err, fault.NotFound) {
		t.Errorf("an unknown one: %v", err)
	}
}
