package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/netdump"
)

// candidates are the ranges to pick from: /16 of 10/8 and 172.16/12 that few networks use, without 10.208/12, where builds of other
// instances may get addresses at any time.
var candidates = []netip.Prefix{
	netip.MustParsePrefix("10.199.0.0/16"), netip.MustParsePrefix("10.201.0.0/16"), netip.MustParsePrefix("10.167.0.0/16"),
	netip.MustParsePrefix("10.143.0.0/16"), netip.MustParsePrefix("10.231.0.0/16"), netip.MustParsePrefix("10.117.0.0/16"),
	netip.MustParsePrefix("172.29.0.0/16"), netip.MustParsePrefix("172.27.0.0/16"), netip.MustParsePrefix("172.23.0.0/16"),
}

// The widest range, which keeps the numbers in interface names within six digits, and the narrowest. Each endpoint takes a /30 of it: network, the host's end, the container's, broadcast.
const (
	minCIDRBits  = 12
	maxCIDRBits  = 24
	endpointBits = 30
	slotSize     = 4
)

func validCIDR(p netip.Prefix) error {
	if !p.IsValid() || !p.Addr().Is4() || p.Bits() < minCIDRBits || p.Bits() > maxCIDRBits || p != p.Masked() {
		return fault.New(fault.Invalid, "network range %s: not an IPv4 range of /%d to /%d without host bits", p, minCIDRBits, maxCIDRBits)
	}
	return nil
}

// pickCIDR returns a candidate that overlaps nothing the host has and that no other instance has claimed, with the claim on it. Where it
// starts to look depends on the instance, so that each mostly gets the same one at every start.
func pickCIDR(cfg Config) (netip.Prefix, claim, error) {
	used, err := usedPrefixes(cfg.Instance)
	if err != nil {
		return netip.Prefix{}, nil, err
	}
	used = append(used, cfg.AllowPrivate...)
	if cfg.BuildSubnet.IsValid() {
		used = append(used, cfg.BuildSubnet)
	}
	start, err := strconv.ParseUint(cfg.Instance, 16, 32)
	if err != nil {
		return netip.Prefix{}, nil, fmt.Errorf("network instance %q: %w", cfg.Instance, err)
	}
	// An earlier process of the instance may have left endpoints, which can only go on in the range that they have.
	earlier, err := forwarderRange(cfg.Instance)
	if err != nil {
		return netip.Prefix{}, nil, err
	}
	ordered := make([]netip.Prefix, 0, len(candidates)+1)
	if validCIDR(earlier) == nil {
		ordered = append(ordered, earlier)
	}
	for i := range candidates {
		ordered = append(ordered, candidates[(int(start)+i)%len(candidates)]) //nolint:gosec // six hexadecimal digits
	}
	for _, c := range ordered {
		if overlapsAny(c, used) {
			continue
		}
		held, err := claimCIDR(c)
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		return c, held, err
	}
	return netip.Prefix{}, nil, fault.New(fault.Precondition, "network range: the host's addresses and routes and other instances take all of %v; set one that is free", candidates)
}

// claim is held on a range from the moment it is picked: the addresses that show others that it is in use come only later. It ends with
// Close or with the process, and nothing of it is left on a disk.
type claim io.Closer

// claimCIDR claims a range in the calling thread's network namespace, which is as far as the range must be unique: a socket's abstract
// name is taken once there. Errors: unix.EADDRINUSE if somebody has claimed it.
func claimCIDR(p netip.Prefix) (claim, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@skerry/range/" + p.String(), Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("claim network range %s: %w", p, err)
	}
	return l, nil
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}

// usedPrefixes lists the host's IPv4 addresses and routes but for default routes and the instance's own leftovers.
func usedPrefixes(instance string) ([]netip.Prefix, error) {
	addrs, err := netdump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	// Every table: policy routing keeps the routes of VPNs in tables of their own.
	routes, err := netdump.Whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list the host's routes: %w", err)
	}
	// Interfaces come last, so that those of every address and route above are among them.
	own, err := ownLinks(instance)
	if err != nil {
		return nil, err
	}
	ours := map[int]bool{}
	for _, l := range own {
		ours[l.Attrs().Index] = true
	}
	var used []netip.Prefix
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok && !ours[a.LinkIndex] {
			used = append(used, p)
		}
	}
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 && !ours[r.LinkIndex] {
			used = append(used, p)
		}
	}
	return used, nil
}

// addresses hands out /30 slots of a range. Slot 0 is the forwarder's. A slot is taken again as late as possible, so that no packet of an
// old connection meets a new container.
type addresses struct {
	cidr netip.Prefix

	mu   sync.Mutex
	last uint32
	used map[uint32]bool
}

func newAddresses(cidr netip.Prefix) *addresses {
	return &addresses{cidr: cidr, used: map[uint32]bool{}}
}

// count is the number of slots, the forwarder's included.
func (a *addresses) count() uint32 { return 1 << (endpointBits - a.cidr.Bits()) }

// take returns a free slot. Errors: fault.Exhausted.
func (a *addresses) take() (uint32, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for range a.count() {
		a.last = (a.last + 1) % a.count()
		if a.last != 0 && !a.used[a.last] {
			a.used[a.last] = true
			return a.last, nil
		}
	}
	return 0, fault.New(fault.Exhausted, "network range %s: all %d places are in use; set a wider one", a.cidr, a.count()-1)
}

// reserve marks a slot as taken.
func (a *addresses) reserve(slot uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used[slot] = true
}

// slotOf returns the slot whose container's end addr is.
func (a *addresses) slotOf(addr netip.Addr) (slot uint32, ok bool) {
	if !addr.Is4() || !a.cidr.Contains(addr) {
		return 0, false
	}
	base, b := a.cidr.Addr().As4(), addr.As4()
	slot = (binary.BigEndian.Uint32(b[:]) - binary.BigEndian.Uint32(base[:])) / slotSize
	return slot, slot != 0 && addr == a.containerEnd(slot)
}

func (a *addresses) release(slot uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.used, slot)
}

func (a *addresses) forwarder() netip.Addr { return a.at(0, 1) }

// hostEnd and containerEnd are the two addresses of a slot.
func (a *addresses) hostEnd(slot uint32) netip.Addr      { return a.at(slot, 1) }
func (a *addresses) containerEnd(slot uint32) netip.Addr { return a.at(slot, 2) }

func (a *addresses) at(slot, offset uint32) netip.Addr {
	base := a.cidr.Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(base[:])+slot*slotSize+offset)
	return netip.AddrFrom4(b)
}
