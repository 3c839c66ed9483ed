// Package network gives containers their place on the network: the internet, names, and nothing else.
//
// An endpoint is a network namespace with one end of a veth pair in it, "eth0", an address of its own in a /30 with the host's end, and a
// default route through that. IPv6 is off. The rules of package rules, in the kernel, keep it from the host, other containers, private
// ranges and metadata addresses, and from sending under another address; the forwarder of package dns answers its DNS queries. A blocked
// endpoint is a namespace with only a loopback interface. Endpoints are made ahead, because the kernel's lock on network changes is slow
// under load: taking one costs no system call.
//
// What an endpoint may reach beyond that is its policy (package policy), given with AcquireWith and changed with SetPolicy while it is in
// use. The life of a sandbox that outlives its daemon is: AcquireWith, SetPolicy as often as wanted, Leave at a daemon's end in good order,
// Adopt in the next daemon (whether or not the one before came to Leave), Release. Endpoints is all of that as an interface.
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
	"github.com/skerry-dev/skerry/worker/egress"
	"github.com/skerry-dev/skerry/worker/egress/authority"
	"github.com/skerry-dev/skerry/worker/network/dns"
	"github.com/skerry-dev/skerry/worker/network/policy"
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
	// AuthorityDir is the folder of the certificate authority that answers for hosts of secrets; without one policies have no secrets.
	AuthorityDir string
	// ExtraRoots is a PEM file with certificates that the egress proxy trusts besides the system's; none if empty.
	ExtraRoots string
	// Log hears what goes on.
	Log *slog.Logger
}

// Network makes endpoints. New allocates, Run sets up the host and keeps endpoints ready, Close removes all of it. Methods may be called
// concurrently; Acquire waits for Run.
type Network struct {
	cfg       Config
	addresses *addresses
	forwarder *dns.Forwarder
	authority *authority.Authority // nil without a folder
	proxy     *egress.Proxy
	open      *pool
	blocked   *pool
	ended     chan struct{} // closed when Run has ended; failure is set before
	failure   error

	mu        sync.Mutex
	claim     claim // on a range that was picked
	host      *host // nil before Run and after Close
	taken     endpoints
	byAddress map[netip.Addr]*endpoint // of taken
	left      endpoints                // of taken: those that Close leaves
}

// Endpoints is what somebody needs whose containers may outlive the process. Implemented by Network, which documents the methods.
type Endpoints interface {
	AcquireWith(ctx context.Context, containerID string, p policy.Policy) (*container.Endpoint, error)
	SetPolicy(e *container.Endpoint, p policy.Policy) error
	Release(e *container.Endpoint) error
	Traffic(e *container.Endpoint) (Traffic, error)
	Adopt(kept []Kept) []Adoption
	Leave(e *container.Endpoint)
}

var (
	_ container.Network = (*Network)(nil)
	_ Endpoints         = (*Network)(nil)
)

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
	n := &Network{
		cfg: cfg, claim: held, addresses: newAddresses(cfg.CIDR), authority: newAuthority(cfg.AuthorityDir), ended: make(chan struct{}),
		taken: endpoints{}, left: endpoints{}, byAddress: map[netip.Addr]*endpoint{},
		open: newPool(cfg.PoolSize), blocked: newPool(min(cfg.PoolSize, blockedPoolSize)),
	}
	n.forwarder, err = dns.New(dns.Config{
		Address: netip.AddrPortFrom(n.addresses.forwarder(), dnsPort), Upstreams: cfg.Upstreams, Gate: gate{n}, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	if n.proxy, err = n.newProxy(); err != nil {
		return nil, err
	}
	undo.Release()
	return n, nil
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

// Run removes what an earlier process of the instance left but for what was adopted, sets up rules, forwarding and DNS, and keeps endpoints
// ready until ctx ends or it fails. Endpoints stay until Close.
func (n *Network) Run(ctx context.Context) error {
	err := n.run(ctx)
	n.failure = err
	close(n.ended)
	return err
}

func (n *Network) run(ctx context.Context) error {
	n.mu.Lock()
	h, err := setUp(n.cfg, n.addresses, n.taken)
	n.host = h
	n.mu.Unlock()
	if err != nil {
		return err
	}
	n.cfg.Log.Info("network is up", "cidr", n.cfg.CIDR, "nameserver", n.Nameserver(), "mtu", h.mtu)
	group := lifecycle.NewGroup(ctx)
	group.Go("rules", func(ctx context.Context) error {
		return h.table.Watch(ctx, func() {
			n.cfg.Log.Warn("somebody removed the containers' nftables table; it is back", "table", tableName(n.cfg.Instance))
		})
	})
	group.Go("dns", func(ctx context.Context) error {
		return n.forwarder.Run(ctx, func() {
			group.Go("egress", func(ctx context.Context) error { return n.proxy.Run(ctx, func() { n.fill(group, h) }) })
		})
	})
	return group.Wait()
}

// fill keeps endpoints ready.
func (n *Network) fill(group *lifecycle.Group, h *host) {
	group.Go("endpoints", func(ctx context.Context) error {
		return n.open.fill(ctx, func() (*endpoint, error) { return n.makeOpen(h) })
	})
	group.Go("blocked endpoints", func(ctx context.Context) error { return n.blocked.fill(ctx, h.makeBlocked) })
}

// Acquire takes an endpoint that serves containerID; block gives one without any interface but loopback, whose Address, Nameserver and
// Interface are empty. It waits while none is ready. Errors: fault.Exhausted if all addresses are in use, fault.Unavailable if the
// network has ended, the kernel's refusal otherwise.
func (n *Network) Acquire(ctx context.Context, containerID string, block bool) (*container.Endpoint, error) {
	return n.AcquireWith(ctx, containerID, policy.Policy{Block: block})
}

// AcquireWith is Acquire with a policy, which holds before it returns. Errors: fault.Invalid for the policy as well.
func (n *Network) AcquireWith(ctx context.Context, containerID string, p policy.Policy) (*container.Endpoint, error) {
	out, err := n.acquire(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("network of container %q: %w", containerID, err)
	}
	return out, nil
}

func (n *Network) acquire(ctx context.Context, p policy.Policy) (*container.Endpoint, error) {
	p, err := p.Normal()
	if err != nil {
		return nil, err
	}
	ready := n.open
	if p.Block {
		ready = n.blocked
	}
	e, err := ready.take(ctx, n.ended)
	if err != nil {
		return nil, errors.Join(err, n.end())
	}
	n.mu.Lock()
	h := n.host
	if h != nil {
		n.take(e)
	}
	n.mu.Unlock()
	if h == nil {
		return nil, errEnded
	}
	out := n.public(e)
	if err := n.apply(h, e, p, true); err != nil {
		return nil, errors.Join(err, n.Release(out))
	}
	return out, nil
}

// take notes that an endpoint is in use; n.mu is held.
func (n *Network) take(e *endpoint) {
	n.taken[e.netns] = e
	if e.address.IsValid() {
		n.byAddress[e.address] = e
	}
}

// public is what others see of an endpoint.
func (n *Network) public(e *endpoint) *container.Endpoint {
	out := &container.Endpoint{NetnsPath: e.netns}
	if e.address.IsValid() {
		out.Address, out.Interface, out.Nameserver = e.address.String(), e.iface, n.Nameserver().String()
	}
	return out
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
	delete(n.left, e.NetnsPath)
	if own != nil {
		delete(n.byAddress, own.address)
	}
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
	e.mu.Lock()
	e.gone = true
	e.mu.Unlock()
	err := h.remove(e)
	if e.address.IsValid() {
		n.forwarder.Forget(e.address)
		n.proxy.Forget(e.address)
		n.addresses.release(e.slot)
	}
	return err
}

// Close removes endpoints, rules, interfaces and mounts, and gives the range back. Where endpoints were left, they stay, with the rules,
// the name server's address and the folder of namespaces. Run must have ended, or never have begun.
func (n *Network) Close() error {
	n.mu.Lock()
	h, held, left := n.host, n.claim, n.left
	n.host, n.claim, n.left = nil, nil, endpoints{}
	clear(n.taken)
	clear(n.byAddress)
	n.mu.Unlock()
	var errs []error
	if h != nil {
		h.close()
		errs = append(errs, reap(n.cfg, left))
		if len(left) > 0 {
			errs = append(errs, h.table.Retain(left.sources()))
		}
		errs = append(errs, h.table.Close())
	}
	if held != nil { // last: until here there were addresses of it
		errs = append(errs, held.Close())
	}
	return errors.Join(errs...)
}
