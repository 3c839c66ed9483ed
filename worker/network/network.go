// Package network gives containers their place on the network: the internet, names, and nothing else.
//
// An endpoint is a network namespace with one end of a veth pair in it, "eth0", an address of its own in a /30 with the host's end, and a
// default route through that. IPv6 is off. The rules of package rules, in the kernel, keep it from the host, other containers, private
// ranges and metadata addresses, and from sending under another address; the forwarder of package dns answers its DNS queries. A blocked
// endpoint is a namespace with only a loopback interface. Endpoints are made ahead, because the kernel's lock on network changes is slow
// under load: taking one costs no system call.
//
// Everything on the host carries the instance's name, so that several instances share a host and what a crash left behind is found:
// namespaces sk<instance>-<n>, interfaces sk<instance>h<n> and sk<instance>dns, nftables tables skerry_<instance>.
//
// IP forwarding is turned on, and stays on at the end: others on the host may have come to rely on it meanwhile, and nothing tells.
package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/dns"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// Defaults of Config.
const (
	// DefaultPoolSize is how many open endpoints are kept ready.
	DefaultPoolSize = 8
	// blockedPoolSize is how many blocked ones are: they are asked for rarely and made in a millisecond.
	blockedPoolSize = 2
	// runRoot is where the run folders of instances are.
	runRoot = "/run/skerry"
	dnsPort = 53
)

// Config is what a Network needs.
type Config struct {
	// Instance tells this instance from others on the host: six hexadecimal digits.
	Instance string
	// CIDR is the range of the endpoints' addresses, a /24 or wider; the zero value picks a private /16 that the host doesn't use.
	CIDR netip.Prefix
	// PoolSize is how many endpoints are kept ready (default DefaultPoolSize).
	PoolSize int
	// RunDir is the folder of the namespaces' mounts (default /run/skerry/<instance>/netns).
	RunDir string
	// AllowPrivate are ranges that are open to containers and builds though they are private.
	AllowPrivate []netip.Prefix
	// Upstreams are the DNS servers to ask, as "address" or "address:port" (default: the host's /etc/resolv.conf).
	Upstreams []string
	// BuildBridge is the bridge of image builds, which get the same rules; none if empty. It need not exist yet.
	BuildBridge string
	// BuildSubnet is the range of the builds' addresses, needed with BuildBridge.
	BuildSubnet netip.Prefix
	// Log hears what goes on.
	Log *slog.Logger
}

// Network makes endpoints. New allocates, Run sets up the host and keeps endpoints ready, Close removes all of it. Methods may be called
// concurrently; Acquire waits for Run.
type Network struct {
	cfg       Config
	addresses *addresses
	forwarder *dns.Forwarder
	open      *pool
	blocked   *pool
	ended     chan struct{} // closed when Run has ended; failure is set before
	failure   error

	mu    sync.Mutex
	claim claim // on a range that was picked
	host  *host // nil before Run and after Close
	taken map[string]*endpoint
}

var _ container.Network = (*Network)(nil)

var instanceName = regexp.MustCompile(`^[0-9a-f]{6}$`)

// New checks the configuration, picks the range of addresses and claims it, so that no other instance picks it meanwhile; it changes
// nothing on the host. Errors: fault.Invalid, fault.Precondition if every range is in use.
func New(cfg Config) (*Network, error) {
	held, err := complete(&cfg)
	if err != nil {
		return nil, err
	}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	if held != nil {
		undo.Add(func() { _ = held.Close() }) // nothing was written
	}
	a := newAddresses(cfg.CIDR)
	forwarder, err := dns.New(dns.Config{
		Address: netip.AddrPortFrom(a.forwarder(), dnsPort), Upstreams: cfg.Upstreams, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	undo.Release()
	return &Network{
		cfg: cfg, claim: held, addresses: a, forwarder: forwarder, taken: map[string]*endpoint{}, ended: make(chan struct{}),
		open: newPool(cfg.PoolSize), blocked: newPool(min(cfg.PoolSize, blockedPoolSize)),
	}, nil
}

// complete checks cfg and sets what is left to us. It returns the claim on the range if it had to pick one.
func complete(cfg *Config) (claim, error) {
	if !instanceName.MatchString(cfg.Instance) {
		return nil, fault.New(fault.Invalid, "network instance %q: not six hexadecimal digits", cfg.Instance)
	}
	for _, p := range cfg.AllowPrivate {
		if err := rules.ValidOpen(p); err != nil {
			return nil, err
		}
	}
	if cfg.BuildBridge != "" && (!cfg.BuildSubnet.IsValid() || !cfg.BuildSubnet.Addr().Is4()) {
		return nil, fault.New(fault.Invalid, "build bridge %q: needs its IPv4 subnet", cfg.BuildBridge)
	}
	if cfg.PoolSize <= 0 {
		cfg.PoolSize = DefaultPoolSize
	}
	if cfg.RunDir == "" {
		cfg.RunDir = filepath.Join(runRoot, cfg.Instance, "netns")
	}
	if !cfg.CIDR.IsValid() {
		picked, held, err := pickCIDR(*cfg)
		cfg.CIDR = picked
		return held, err
	}
	if cfg.BuildBridge != "" && cfg.CIDR.Overlaps(cfg.BuildSubnet) {
		return nil, fault.New(fault.Invalid, "network range %s: overlaps the builds' %s; set another", cfg.CIDR, cfg.BuildSubnet)
	}
	return nil, validCIDR(cfg.CIDR)
}

// CIDR is the range of the endpoints' addresses.
func (n *Network) CIDR() netip.Prefix { return n.cfg.CIDR }

// Nameserver is the address of the DNS forwarder, for containers and builds alike.
func (n *Network) Nameserver() netip.Addr { return n.addresses.forwarder() }

// Run removes what an earlier process of the instance left, sets up rules, forwarding and DNS, and keeps endpoints ready until ctx ends or
// it fails. Endpoints stay until Close.
func (n *Network) Run(ctx context.Context) error {
	err := n.run(ctx)
	n.failure = err
	close(n.ended)
	return err
}

func (n *Network) run(ctx context.Context) error {
	h, err := setUp(n.cfg, n.addresses)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.host = h
	n.mu.Unlock()
	n.cfg.Log.Info("network is up", "cidr", n.cfg.CIDR, "nameserver", n.Nameserver(), "mtu", h.mtu)
	group := lifecycle.NewGroup(ctx)
	group.Go("rules", func(ctx context.Context) error {
		return h.table.Watch(ctx, func() {
			n.cfg.Log.Warn("somebody removed the containers' nftables table; it is back", "table", tableName(n.cfg.Instance))
		})
	})
	group.Go("dns", func(ctx context.Context) error {
		return n.forwarder.Run(ctx, func() {
			group.Go("endpoints", func(ctx context.Context) error {
				return n.open.fill(ctx, func() (*endpoint, error) { return n.makeOpen(h) })
			})
			group.Go("blocked endpoints", func(ctx context.Context) error { return n.blocked.fill(ctx, h.makeBlocked) })
		})
	})
	return group.Wait()
}

// Acquire takes an endpoint that serves containerID; block gives one without any interface but loopback, whose Address, Nameserver and
// Interface are empty. It waits while none is ready. Errors: fault.Exhausted if all addresses are in use, fault.Unavailable if the
// network has ended, the kernel's refusal otherwise.
func (n *Network) Acquire(ctx context.Context, containerID string, block bool) (*container.Endpoint, error) {
	p := n.open
	if block {
		p = n.blocked
	}
	e, err := p.take(ctx, n.ended)
	if err != nil {
		return nil, fmt.Errorf("network of container %q: %w", containerID, errors.Join(err, n.end()))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.host == nil {
		return nil, fmt.Errorf("network of container %q: %w", containerID, errEnded)
	}
	n.taken[e.netns] = e
	out := &container.Endpoint{NetnsPath: e.netns}
	if !block {
		out.Address, out.Interface, out.Nameserver = e.address.String(), e.iface, n.Nameserver().String()
	}
	return out, nil
}

// end is why Run ended, if it has failed.
func (n *Network) end() error {
	select {
	case <-n.ended:
		return n.failure
	default:
		return nil
	}
}

// Release removes an endpoint with all that belongs to it; whatever still runs in it is cut off. Releasing it again does nothing.
func (n *Network) Release(e *container.Endpoint) error {
	n.mu.Lock()
	own, h := n.taken[e.NetnsPath], n.host
	delete(n.taken, e.NetnsPath)
	n.mu.Unlock()
	if own == nil || h == nil {
		return nil
	}
	return n.discard(h, own)
}

// makeOpen makes an open endpoint.
func (n *Network) makeOpen(h *host) (*endpoint, error) {
	slot, err := n.addresses.take()
	if err != nil {
		return nil, err
	}
	e, err := h.makeOpen(slot)
	if err != nil {
		n.addresses.release(slot)
		return nil, err
	}
	return e, nil
}

// discard removes an endpoint of either kind.
func (n *Network) discard(h *host, e *endpoint) error {
	err := h.remove(e)
	if e.address.IsValid() {
		n.forwarder.Forget(e.address)
		n.addresses.release(e.slot)
	}
	return err
}

// Close removes endpoints, rules, interfaces and mounts, and gives the range back. Run must have ended, or never have begun.
func (n *Network) Close() error {
	n.mu.Lock()
	h, held := n.host, n.claim
	n.host, n.claim = nil, nil
	clear(n.taken)
	n.mu.Unlock()
	var errs []error
	if h != nil {
		h.close()
		errs = append(errs, reap(n.cfg))
	}
	if held != nil { // last: until here there were addresses of it
		errs = append(errs, held.Close())
	}
	return errors.Join(errs...)
}
