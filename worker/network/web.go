package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/egress"
	"github.com/skerry-dev/skerry/worker/egress/authority"
	"github.com/skerry-dev/skerry/worker/network/dns"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// Ports of the egress proxy at the name server's address. They are outside of the range that kernels hand out.
const (
	proxyTLS  = 61443
	proxyHTTP = 61080
)

// Bounds of how long an address that a name server gave for a listed name stays open: longer than a program takes to use it, and short
// enough for it not to be somebody else's by then.
const (
	MinLearned = 30 * time.Second
	MaxLearned = time.Hour
)

// newProxy makes the proxy of the network.
func (n *Network) newProxy() (*egress.Proxy, error) {
	at := n.addresses.forwarder()
	return egress.New(egress.Config{
		TLS: netip.AddrPortFrom(at, proxyTLS), HTTP: netip.AddrPortFrom(at, proxyHTTP),
		Resolve: n.resolve, Permit: n.permit, Authority: n.authority, ExtraRoots: n.cfg.ExtraRoots, Log: n.cfg.Log,
	})
}

// CA returns the certificates that sandboxes with secrets have to trust, as PEM. They are made at first use. Errors: fault.Precondition
// without a folder for them, or if what is in it can't be used.
func (n *Network) CA() ([]byte, error) {
	if n.authority == nil {
		return nil, errNoAuthority
	}
	return n.authority.PEM()
}

var errNoAuthority = fault.New(fault.Precondition, "network policy with secrets: the worker has no folder for its certificate authority")

// newAuthority returns the authority of a folder, nil without one.
func newAuthority(dir string) *authority.Authority {
	if dir == "" {
		return nil
	}
	return authority.New(dir)
}

// resolve returns addresses of a host for the proxy.
func (n *Network) resolve(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	found, err := n.forwarder.Addresses(ctx, host)
	if err != nil {
		return nil, 0, err
	}
	addrs, shortest := make([]netip.Addr, 0, len(found)), found[0].TTL
	for _, a := range found {
		addrs, shortest = append(addrs, a.Addr), min(shortest, a.TTL)
	}
	return addrs, shortest, nil
}

// permit says whether the proxy may connect to an address for an endpoint: rules can't, since it is the host that connects.
func (n *Network) permit(addr netip.Addr) error {
	if err := ruleConfig(n.cfg, n.addresses).Permit(addr); err != nil {
		return err
	}
	routes, err := netlink.RouteGet(addr.AsSlice())
	if err != nil {
		return fault.New(fault.Unavailable, "address %s: %v", addr, err)
	}
	for _, r := range routes {
		if r.Type != unix.RTN_UNICAST {
			return fault.New(fault.Denied, "address %s is the host's own", addr)
		}
	}
	return nil
}

// gate is what the DNS forwarder asks.
type gate struct{ network *Network }

var _ dns.Gate = gate{}

// Ask says what the policy of the endpoint at asker is.
func (g gate) Ask(asker netip.Addr, name string) dns.Access {
	e, _ := g.network.endpointAt(asker)
	if e == nil {
		return dns.Free // a build, or nobody
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.policy.Block && !e.policy.Listed() {
		return dns.Free
	}
	canonical, err := policy.Name(name)
	if err != nil || !e.policy.HasName(canonical) {
		return dns.Refused
	}
	return dns.Listed
}

// Answered opens the addresses of a name to the endpoint.
func (g gate) Answered(asker netip.Addr, name string, found []dns.Address) error {
	e, h := g.network.endpointAt(asker)
	canonical, err := policy.Name(name)
	if err != nil || e == nil || h == nil {
		return fault.New(fault.Denied, "endpoint %s: not in use", asker)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone || !e.policy.HasName(canonical) {
		return fault.New(fault.Denied, "name %q: not in the policy any more", canonical)
	}
	learned := make([]rules.Learned, 0, len(found))
	for _, a := range found {
		learned = append(learned, rules.Learned{Addr: a.Addr, TTL: min(max(a.TTL, MinLearned), MaxLearned)})
	}
	if err := h.table.Learn(e.source(), learned); err != nil {
		return fmt.Errorf("name %q: %w", canonical, err)
	}
	e.remember(canonical, learned, time.Now())
	return nil
}

// endpointAt returns the endpoint that an address belongs to, and the host.
func (n *Network) endpointAt(addr netip.Addr) (*endpoint, *host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byAddress[addr], n.host
}

// origin is which names had an address, and until when.
type origin map[string]time.Time

// maxOrigins is how many names one address is remembered for.
const maxOrigins = 8

// remember notes the names of addresses; e.mu is held.
func (e *endpoint) remember(name string, learned []rules.Learned, now time.Time) {
	if e.origins == nil {
		e.origins = map[netip.Addr]origin{}
	}
	if len(e.origins)+len(learned) > rules.MaxLearned {
		maps.DeleteFunc(e.origins, func(_ netip.Addr, o origin) bool { return o.expired(now) })
	}
	if len(e.origins)+len(learned) > 2*rules.MaxLearned {
		// The kernel has forgotten most of these. Those that it has not are closed by the next change of the policy.
		clear(e.origins)
	}
	for _, l := range learned {
		o := e.origins[l.Addr]
		if o == nil || len(o) >= maxOrigins {
			o = origin{}
			e.origins[l.Addr] = o
		}
		o[name] = now.Add(l.TTL)
	}
}

func (o origin) expired(now time.Time) bool {
	for _, until := range o {
		if until.After(now) {
			return false
		}
	}
	return true
}

// stillKnown returns the learned addresses of names that a policy lists; e.mu is held.
func (e *endpoint) stillKnown(p policy.Policy, now time.Time) []rules.Learned {
	var known []rules.Learned
	for addr, o := range e.origins {
		var left time.Duration
		for name, until := range o {
			if p.HasName(name) {
				left = max(left, until.Sub(now))
			} else {
				delete(o, name)
			}
		}
		if left > 0 {
			known = append(known, rules.Learned{Addr: addr, TTL: left})
		} else {
			delete(e.origins, addr)
		}
	}
	return known
}
