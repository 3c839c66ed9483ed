package place

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

// The lines around what is ours in a file of the image, so that it can be replaced.
const (
	beginMark = "# skerry: begin"
	endMark   = "# skerry: end"
	// maxFile is how large a file may be that we add to, in bytes.
	maxFile = 16 << 20
)

// setHosts adds lines to /etc/hosts.
func (p *Place) setHosts(lines string) error {
	return p.put("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", lines)
}

// bundles are where distributions keep the authorities that they trust.
var bundles = []string{
	"/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Arch, Alpine
	"/etc/pki/tls/certs/ca-bundle.crt",   // Fedora, RHEL
	"/etc/ssl/ca-bundle.pem",             // SUSE
	"/etc/ssl/cert.pem",                  // Alpine, and Pythons that were built elsewhere
}

// vendored is where Python keeps authorities in images that have no bundle.
var vendored = []string{
	"/usr/lib/python3*/site-packages/certifi/cacert.pem", "/usr/lib/python3/dist-packages/certifi/cacert.pem",
	"/usr/lib/python3*/site-packages/pip/_vendor/certifi/cacert.pem", "/usr/lib/python3/dist-packages/pip/_vendor/certifi/cacert.pem",
	"/usr/local/lib/python3*/site-packages/certifi/cacert.pem", "/usr/local/lib/python3*/site-packages/pip/_vendor/certifi/cacert.pem",
}

// ownCertificates has what we were given alone.
const ownCertificates = "/etc/ssl/certs/skerry.pem"

// setCertificates adds authorities to the bundles of the image, and returns the variables by which programs find them that have bundles of
// their own or look elsewhere.
func (p *Place) setCertificates(pem string) (map[string]string, error) {
	if pem == "" {
		return nil, nil
	}
	bundle := ""
	for _, path := range bundles {
		if _, err := os.Stat(p.at(path)); err != nil {
			continue
		}
		if err := p.put(path, "", pem); err != nil {
			return nil, err
		}
		if bundle == "" {
			bundle = path
		}
	}
	if bundle == "" {
		bundle = bundles[0]
		if err := p.put(bundle, p.vendoredBundle(), pem); err != nil {
			return nil, err
		}
	}
	if err := p.put(ownCertificates, "", pem); err != nil {
		return nil, err
	}
	return map[string]string{
		"SSL_CERT_FILE": bundle, "REQUESTS_CA_BUNDLE": bundle, "CURL_CA_BUNDLE": bundle, "PIP_CERT": bundle, "GIT_SSL_CAINFO": bundle,
		"NODE_EXTRA_CA_CERTS": ownCertificates,
	}, nil
}

// vendoredBundle is what Python brings, or nothing.
func (p *Place) vendoredBundle() string {
	for _, pattern := range vendored {
		found, err := filepath.Glob(p.at(pattern))
		if err != nil || len(found) == 0 {
			continue
		}
		if data, _, err := read(found[0]); err == nil {
			return string(data)
		}
	}
	return ""
}

func (p *Place) at(path string) string { return filepath.Join(p.root, path) }

// put writes text between our marks at the end of a file, in place of what was there before. A file that is missing begins with initial.
// Where a link leads elsewhere, that is changed. Errors: fault.Invalid.
func (p *Place) put(path, initial, text string) error {
	path = p.at(path)
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	data, mode, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, mode, err = []byte(initial), 0o644, os.MkdirAll(filepath.Dir(path), 0o755) //nolint:gosec // folders of an image are public
	}
	if err != nil {
		return fault.New(fault.Invalid, "add to %s: %w", path, err)
	}
	if err := replace(path, merge(string(data), text), mode); err != nil {
		return fault.New(fault.Invalid, "add to %s: %w", path, err)
	}
	return nil
}

// merge returns a file's text with ours at its end.
func merge(old, text string) string {
	if i := strings.Index(old, beginMark); i >= 0 {
		if j := strings.Index(old[i:], endMark); j >= 0 {
			old = old[:i] + strings.TrimPrefix(old[i+j+len(endMark):], "\n")
		}
	}
	if old != "" && !strings.HasSuffix(old, "\n") {
		old += "\n"
	}
	return old + beginMark + "\n" + strings.TrimSuffix(text, "\n") + "\n" + endMark + "\n"
}

// read reads a file that may be anything, for an image is its user's.
func read(path string) ([]byte, fs.FileMode, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return nil, 0, fmt.Errorf("want a file of at most %d bytes", maxFile)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile))
	return data, st.Mode().Perm(), err
}

// replace puts a file in the place of another at once, so that nobody reads half of it.
func replace(path, text string, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".skerry-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
