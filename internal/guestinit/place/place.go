// Package place is a container's place in the world: its host name, its environment, whom it trusts, and the environments that secrets were
// sealed into.
package place

import (
	"maps"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
)

const (
	// MaxSealed is how many environments may be sealed.
	MaxSealed = 256
	// maxEnvironment is how large an environment may be, in bytes.
	maxEnvironment = 1 << 20
)

// Settings are what a worker gives a container.
type Settings struct {
	Hostname     string            // empty: as it is
	Env          map[string]string // the whole environment that processes begin with
	Workdir      string            // absolute, made if it is missing; empty: "/"
	Certificates string            // PEM of authorities to trust besides the image's; empty: none
	Hosts        string            // lines for /etc/hosts besides its own; empty: as it is
}

// Place is where a container is. It is safe for concurrent use.
type Place struct {
	root string // "/", but for tests

	mu         sync.Mutex
	configured bool
	env        map[string]string
	workdir    string
	trust      map[string]string // variables that lead programs to the certificates
	sealed     map[string]map[string]string
}

// New returns a place without an environment, whose directory is "/".
func New() *Place { return &Place{root: "/", workdir: "/", sealed: map[string]map[string]string{}} }

// Configure gives the container its place, or another one. Errors: fault.Invalid.
func (p *Place) Configure(s Settings) error {
	if s.Workdir == "" {
		s.Workdir = "/"
	}
	if !filepath.IsAbs(s.Workdir) {
		return fault.New(fault.Invalid, "working directory %q: want an absolute path", s.Workdir)
	}
	if size(s.Env) > maxEnvironment {
		return fault.New(fault.Invalid, "environment of %d bytes: want at most %d", size(s.Env), maxEnvironment)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := os.MkdirAll(s.Workdir, 0o755); err != nil { //nolint:gosec // a folder of the container, as mkdir makes it
		return fault.New(fault.Invalid, "working directory: %w", err)
	}
	if s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return fault.New(fault.Invalid, "host name %q: %w", s.Hostname, err)
		}
	}
	if s.Hosts != "" {
		if err := p.setHosts(s.Hosts); err != nil {
			return err
		}
	}
	trust, err := p.setCertificates(s.Certificates)
	if err != nil {
		return err
	}
	p.env, p.workdir, p.trust, p.configured = maps.Clone(s.Env), s.Workdir, trust, true
	return nil
}

// Trust has programs that begin from now on trust these authorities (PEM) besides those of the image. Errors: fault.Invalid.
func (p *Place) Trust(pem string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	trust, err := p.setCertificates(pem)
	if err == nil {
		p.trust = trust
	}
	return err
}

// Configured says whether the container has its place.
func (p *Place) Configured() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.configured
}

// Workdir is where processes begin.
func (p *Place) Workdir() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.workdir
}

// Seal keeps an environment for processes that name it. Errors: fault.Invalid, fault.Exhausted.
func (p *Place) Seal(id string, variables map[string]string) error {
	if id == "" || len(id) > 64 || size(variables) > maxEnvironment {
		return fault.New(fault.Invalid, "environment %q: want an id of 1 to 64 bytes, and at most %d bytes of variables", id, maxEnvironment)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, again := p.sealed[id]; !again && len(p.sealed) >= MaxSealed {
		return fault.New(fault.Exhausted, "environment %q: %d are sealed already", id, MaxSealed)
	}
	p.sealed[id] = maps.Clone(variables)
	return nil
}

// Environment is that of a process: the container's, then the sealed ones, then its own; what comes later wins. Errors: fault.NotFound.
func (p *Place) Environment(sealed []string, own map[string]string) (map[string]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	env := maps.Clone(p.trust)
	if env == nil {
		env = make(map[string]string, len(p.env)+len(own)+1)
	}
	maps.Copy(env, p.env)
	for _, id := range sealed {
		variables, ok := p.sealed[id]
		if !ok {
			return nil, fault.New(fault.NotFound, "environment %q: not sealed in this container; seal it again", id)
		}
		maps.Copy(env, variables)
	}
	maps.Copy(env, own)
	return env, nil
}

func size(env map[string]string) int {
	n := 0
	for k, v := range env {
		n += len(k) + len(v) + 2
	}
	return n
}
