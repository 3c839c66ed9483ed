package egress

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Bounds of remembered addresses.
const (
	maxNames = 4096
	// minRemembered and maxRemembered bound how long addresses of a name are used without asking again.
	minRemembered = time.Second
	maxRemembered = time.Minute
)

// names remembers addresses of hosts.
type names struct {
	resolve func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error)

	mu    sync.Mutex
	known map[string]addresses
}

type addresses struct {
	addrs []netip.Addr
	until time.Time
}

func newNames(resolve func(context.Context, string) ([]netip.Addr, time.Duration, error)) *names {
	return &names{resolve: resolve, known: map[string]addresses{}}
}

// lookUp returns the addresses of a host, at least one. Errors: those of Config.Resolve.
func (n *names) lookUp(ctx context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	have, ok := n.known[host]
	n.mu.Unlock()
	if ok && time.Now().Before(have.until) {
		return have.addrs, nil
	}
	addrs, ttl, err := n.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.known) >= maxNames {
		for some := range n.known { // any: asking again is cheap
			delete(n.known, some)
			break
		}
	}
	n.known[host] = addresses{addrs, time.Now().Add(min(max(ttl, minRemembered), maxRemembered))}
	return addrs, nil
}
