package ingress_test

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/gateway/ingress"
	"github.com/skerry-dev/skerry/gateway/tunnel"
	"github.com/skerry-dev/skerry/internal/fault"
)

// gatedStore refuses to store until it is opened, and tells of what it forgets.
type gatedStore struct {
	*memory
	mu      sync.Mutex
	refuses bool
	refused chan struct{} // closed at the first refusal
	forgot  chan string
}

func (s *gatedStore) ChangeTunnels(ctx context.Context, changes []tunnel.Change) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses {
		select {
		case <-s.refused:
		default:
			close(s.refused)
		}
		return errors.New("the disk is full")
	}
	for _, c := range changes {
		if c.Forget != "" {
			s.forgot <- c.Forget
		}
	}
	return s.memory.ChangeTunnels(ctx, changes)
}

func newGatedStore() *gatedStore {
	return &gatedStore{memory: newMemory(), refused: make(chan struct{}), forgot: make(chan string, 10)}
}

func TestWhatAClientIsToldIsStoredBefore(t *testing.T) {
	store := newGatedStore()
	r := start(t, options{store: store.memory, changes: store})
	store.mu.Lock()
	store.refuses = true
	store.mu.Unlock()
	ctx, cancel := context.WithCancelCause(t.Context())
	opened := make(chan error, 1)
	go func() {
		_, err := r.tunnels.Open(ctx, r.sandbox.ID, tunnel.Port{Number: 8000, Kind: tunnel.Encrypted})
		opened <- err
	}()
	<-store.refused
	gone := errors.New("the client has gone")
	cancel(gone)
	if err := <-opened; !errors.Is(err, gone) {
		t.Errorf("Open while nothing can be stored: %v", err)
	}
	store.mu.Lock()
	store.refuses = false
	store.mu.Unlock()
	if _, err := r.tunnels.Open(t.Context(), r.sandbox.ID, tunnel.Port{Number: 8000, Kind: tunnel.Encrypted}); err != nil {
		t.Fatal(err) // it waits until the journal has tried again
	}
	if ways, _, _ := store.Tunnels(t.Context()); len(ways) != 1 {
		t.Errorf("stored: %v", ways)
	}
}

func TestLeftoversOfSandboxesThatAreGone(t *testing.T) {
	way := func(id string) tunnel.Change {
		return tunnel.Change{Way: &tunnel.Way{WayKey: tunnel.WayKey{SandboxID: id, Port: 1}, Kind: tunnel.Encrypted}}
	}
	store := newGatedStore()
	if err := store.memory.ChangeTunnels(t.Context(), []tunnel.Change{way("ended"), way("unknown"), way("alive")}); err != nil {
		t.Fatal(err)
	}
	store.sandboxes["ended"] = tunnel.Sandbox{ID: "ended", State: tunnel.Ended}
	store.sandboxes["alive"] = tunnel.Sandbox{ID: "alive", State: tunnel.Running}
	r := start(t, options{store: store.memory, changes: store, tunnel: tunnel.Config{SettleTime: time.Millisecond}})
	if a, b := <-store.forgot, <-store.forgot; a != "ended" && b != "ended" || a == "alive" || b == "alive" {
		t.Errorf("forgot %s and %s", a, b)
	}
	if list, err := r.tunnels.List(t.Context(), "alive", time.Minute); err != nil || len(list) != 1 {
		t.Errorf("of the one that is alive: %v, %v", list, err)
	}
	if _, err := r.tunnels.List(t.Context(), "unknown", 0); !errors.Is(err, fault.NotFound) {
		t.Errorf("of the one that nobody knows: %v", err)
	}
	if _, err := r.tunnels.List(t.Context(), "ended", 0); !errors.Is(err, fault.Precondition) {
		t.Errorf("of the one that has ended: %v", err)
	}
}

func TestCertificatesAreRenewed(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	n := startNamed(t, options{ingress: ingress.Config{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}}})
	serial := func() int64 {
		raw, err := n.dial(t.Context(), "tcp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		trust := n.authority.trust()
		trust.ServerName = "x." + domain
		c := tls.Client(raw, trust)
		if err := c.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return c.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	later := func() {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Minute)
	}
	if got := serial(); got != 2 {
		t.Errorf("at first: %d", got)
	}
	pair := n.authority.issue("wildcard", 9, "*."+domain)
	if err := os.Chtimes(pair.Cert, now, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("before the files are looked at again: %d", got)
	}
	later()
	if got := serial(); got != 9 {
		t.Errorf("renewed: %d", got)
	}
	if err := os.WriteFile(pair.Cert, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	later()
	if got := serial(); got != 9 {
		t.Errorf("with a file that is broken: %d", got)
	}
}
