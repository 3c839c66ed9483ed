package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// SetPolicy replaces an endpoint's policy, secrets included. When it returns, the new one holds for new connections and for open ones: an
// open connection that the new policy would not let be made is cut, one that it would goes on. An endpoint that was acquired blocked has no
// interface: only blocking it again succeeds. Errors: fault.Invalid for the policy, fault.NotFound if the endpoint was released,
// fault.Precondition for a blocked one and for secrets without a certificate authority, fault.Unavailable if the network doesn't run; the
// old policy holds then. Where the kernel doesn't let connections be cut, the new one holds, and each of their packets is checked.
func (n *Network) SetPolicy(at *container.Endpoint, p policy.Policy) error {
	n.mu.Lock()
	e, h := n.taken[at.NetnsPath], n.host
	n.mu.Unlock()
	p, err := p.Normal()
	switch {
	case err != nil:
		return err
	case h == nil:
		return errEnded
	case e == nil:
		return fault.New(fault.NotFound, "network endpoint %s: not in use", at.NetnsPath)
	}
	if err := n.apply(h, e, p, false); err != nil {
		return fmt.Errorf("network endpoint %s: %w", at.NetnsPath, err)
	}
	return nil
}

// apply sets a policy. An endpoint that is fresh has no connections to cut.
func (n *Network) apply(h *host, e *endpoint, p policy.Policy, fresh bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return fault.New(fault.NotFound, "not in use")
	}
	if !e.address.IsValid() {
		if !p.Block {
			return fault.New(fault.Precondition, "it was made with its network blocked and has no interface; make another, and block that by a change of its policy")
		}
		return nil
	}
	if len(p.Secrets) > 0 && n.authority == nil {
		return errNoAuthority
	}
	l := limitsOf(p)
	if !l.Limited() && !limitsOf(e.policy).Limited() {
		e.policy = p
		return nil
	}
	l.Known, l.Settled = e.stillKnown(p, time.Now()), fresh
	// The proxy first: by the time that connections come to it, it knows what to do with them.
	n.proxy.SetPolicy(e.address, p)
	if err := h.table.Limit(e.source(), l); err != nil {
		n.proxy.SetPolicy(e.address, e.policy)
		return err
	}
	e.policy = p
	if fresh || !l.Limited() {
		return nil
	}
	if !silent(e) {
		if err := h.cut(e.address, l); err != nil {
			return err
		}
	}
	return h.table.Settle(e.source())
}

// silent says that an endpoint has sent nothing until now, as one of a pool: then there is nothing to cut, which is looked for among all
// connections of the host.
func silent(e *endpoint) bool {
	traffic, err := trafficOf(e)
	return err == nil && traffic.Sent == 0
}

// limitsOf says what a policy is in rules.
func limitsOf(p policy.Policy) rules.Limits {
	named, opened := len(p.Domains) > 0, len(p.Secrets) > 0
	return rules.Limits{
		Closed: p.Block, Listed: p.Listed(), Ranges: p.Ranges4(), Learns: named, Web: named, TLS: named || opened, AllTLS: opened,
	}
}

// cut ends what the kernel knows of the connections of an address that its limits don't let through, so that nothing more comes in over
// them; rules end what goes out.
func (h *host) cut(source netip.Addr, l rules.Limits) error {
	known := map[netip.Addr]bool{}
	for _, k := range l.Known {
		known[k.Addr] = true
	}
	doomed := doomed{source: source, forwarder: h.addresses.forwarder(), limits: l, known: known}
	_, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.InetFamily(unix.AF_INET), doomed)
	for range cutAttempts {
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		_, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.InetFamily(unix.AF_INET), doomed)
	}
	if err != nil {
		return fmt.Errorf("cut connections: %w", err)
	}
	return nil
}

// cutAttempts is how often the kernel's list of connections is asked for again when it changed meanwhile.
const cutAttempts = 100

// doomed matches connections that are to be cut.
type doomed struct {
	source, forwarder netip.Addr
	limits            rules.Limits
	known             map[netip.Addr]bool
}

var _ netlink.CustomConntrackFilter = doomed{}

// MatchConntrackFlow says whether a connection is to be cut.
func (d doomed) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	from, _ := netip.AddrFromSlice(flow.Forward.SrcIP)
	to, _ := netip.AddrFromSlice(flow.Forward.DstIP)
	answers, _ := netip.AddrFromSlice(flow.Reverse.SrcIP)
	l, to := d.limits, to.Unmap()
	if from.Unmap() != d.source {
		return false
	}
	web := flow.Forward.DstPort == portTLS || flow.Forward.DstPort == portHTTP && flow.Forward.Protocol == unix.IPPROTO_TCP
	tls := flow.Forward.DstPort == portTLS
	switch {
	case l.Closed:
		return true
	case answers.Unmap() == d.forwarder: // names, or the proxy, which decides for itself
		return false
	case l.AllTLS && tls:
		return true
	case slices.ContainsFunc(l.Ranges, func(p netip.Prefix) bool { return p.Contains(to) }):
		return false
	case l.Web && web:
		return true
	case d.known[to]:
		return false
	}
	return l.Listed
}

const (
	portHTTP = 80
	portTLS  = 443
)
