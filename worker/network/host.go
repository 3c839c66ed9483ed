package network

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/internal/netdump"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// defaultMTU is used where the host has no default route.
const defaultMTU = 1500

// names of an instance's things on the host.
func linkPrefix(instance string) string    { return "sk" + instance }
func vethPrefix(instance string) string    { return linkPrefix(instance) + "h" }
func forwarderName(instance string) string { return linkPrefix(instance) + "dns" }
func tableName(instance string) string     { return "skerry_" + instance }
func netnsPrefix(instance string) string   { return linkPrefix(instance) + "-" }

// host is what a running network holds of the host: it makes and removes endpoints there.
type host struct {
	cfg       Config
	addresses *addresses
	mtu       int
	links     *netlink.Handle
	namespace netns.NsHandle // the host's own
	table     *rules.Table
	removals  removals
	blocked   atomic.Uint64 // number of blocked endpoints made, for their names
}

// setUp makes the host ready for endpoints. Of what was there it takes over the kept endpoints, whose rules it replaces in one transaction.
func setUp(cfg Config, a *addresses, keep endpoints) (*host, error) {
	if err := reap(cfg, keep); err != nil {
		return nil, err
	}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	undo.Add(func() {
		if err := reap(cfg, keep); err != nil {
			cfg.Log.Error("network setup can't be undone; the next start tries again", "err", err)
		}
	})
	h := &host{cfg: cfg, addresses: a}
	h.blocked.Store(keep.lastBlocked(cfg.Instance))
	var err error
	if h.mtu, err = uplinkMTU(); err != nil {
		return nil, err
	}
	if h.namespace, err = netns.Get(); err != nil {
		return nil, fmt.Errorf("the host's network namespace: %w", err)
	}
	undo.Add(h.close)
	if h.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if len(keep) == 0 {
		if err := makeRunDir(cfg.RunDir); err != nil {
			return nil, err
		}
	}
	limits, err := keptLimits(tableName(cfg.Instance), keep)
	if err != nil {
		return nil, err
	}
	// The rules come first, so that nothing is ever reachable without them.
	if h.table, err = rules.Install(ruleConfig(cfg, a), limits); err != nil {
		return nil, err
	}
	undo.Add(func() {
		if err := h.table.Close(); err != nil {
			cfg.Log.Error("close the connection to nftables", "err", err)
		}
	})
	if err := h.addForwarder(); err != nil {
		return nil, err
	}
	if err := turnOnForwarding(); err != nil {
		return nil, err
	}
	warnOfObstacles(cfg)
	undo.Release()
	return h, nil
}

func ruleConfig(cfg Config, a *addresses) rules.Config {
	return rules.Config{
		Table: tableName(cfg.Instance), Prefix: vethPrefix(cfg.Instance), CIDR: cfg.CIDR, DNS: a.forwarder(), Open: cfg.AllowPrivate,
		ProxyTLS: proxyTLS, ProxyHTTP: proxyHTTP, BuildBridge: cfg.BuildBridge, BuildSubnet: cfg.BuildSubnet,
	}
}

func warnOfObstacles(cfg Config) {
	for _, c := range firewallChecks(cfg.Instance) {
		if !c.OK {
			cfg.Log.Warn("the host's firewall is in the way of containers", "detail", c.Detail, "fix", c.Fix)
		}
	}
}

// close gives back the handles.
func (h *host) close() {
	if h.links != nil {
		h.links.Close()
	}
	if err := h.namespace.Close(); err != nil {
		h.cfg.Log.Error("close the host's network namespace", "err", err)
	}
}

// addForwarder makes the interface that has the forwarder's address: a bridge without ports, because a kernel may lack dummy interfaces,
// while builds need bridges anyway. Its prefix is the whole range, so that packets for an address that no endpoint has end there and don't
// leave the host. One that kept endpoints use stays, if the range is still the same.
func (h *host) addForwarder() error {
	name := forwarderName(h.cfg.Instance)
	earlier, err := forwarderRange(h.cfg.Instance)
	if err != nil {
		return err
	}
	if earlier == h.cfg.CIDR {
		return nil
	}
	if earlier.IsValid() {
		if err := h.links.LinkDel(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
			return fmt.Errorf("remove interface %s of range %s: %w", name, earlier, err)
		}
	}
	link := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	if err := h.links.LinkAdd(link); err != nil {
		return fmt.Errorf("add interface %s: %w", name, err)
	}
	if err := disableIPv6(name); err != nil {
		return err
	}
	if err := h.addAddress(link, h.addresses.forwarder(), h.cfg.CIDR.Bits()); err != nil {
		return err
	}
	return h.up(link)
}

// forwarderRange is the range that the instance's forwarder has an interface for, the zero value if there is none.
func forwarderRange(instance string) (netip.Prefix, error) {
	name := forwarderName(instance)
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return netip.Prefix{}, nil
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("interface %s: %w", name, err)
	}
	addrs, err := netdump.Whole(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V4) })
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("addresses of interface %s: %w", name, err)
	}
	for _, a := range addrs {
		if p, ok := prefixOf(a.IPNet); ok {
			return p, nil
		}
	}
	return netip.Prefix{}, nil
}

func (h *host) addAddress(link netlink.Link, addr netip.Addr, bits int) error {
	if err := h.links.AddrAdd(link, &netlink.Addr{IPNet: ipNet(addr, bits)}); err != nil {
		return fmt.Errorf("add address %s to %s: %w", addr, link.Attrs().Name, err)
	}
	return nil
}

func (h *host) up(link netlink.Link) error {
	if err := h.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}

// uplinkMTU is that of the interface with the default route: a container's packets must not be larger than the way out takes.
func uplinkMTU() (int, error) {
	routes, err := netdump.Whole(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	})
	if err != nil {
		return 0, fmt.Errorf("list the host's default routes: %w", err)
	}
	mtu := 0
	for _, index := range waysOut(routes) {
		link, err := netlink.LinkByIndex(index)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue // it has just gone, and its route with it
		}
		if err != nil {
			return 0, fmt.Errorf("interface %d of the default route: %w", index, err)
		}
		if m := link.Attrs().MTU; mtu == 0 || m < mtu {
			mtu = m
		}
	}
	if mtu == 0 {
		mtu = defaultMTU
	}
	return mtu, nil
}

// waysOut are the interfaces of routes. A route that refuses what it is for has none, one with several hops has several.
func waysOut(routes []netlink.Route) (indices []int) {
	for _, r := range routes {
		if r.LinkIndex != 0 {
			indices = append(indices, r.LinkIndex)
		}
		for _, hop := range r.MultiPath {
			indices = append(indices, hop.LinkIndex)
		}
	}
	return indices
}

const forwardingSysctl = "/proc/sys/net/ipv4/ip_forward"

// turnOnForwarding writes only where needed: writing resets other settings of the host.
func turnOnForwarding() error {
	on, err := forwarding()
	if err != nil || on {
		return err
	}
	if err := os.WriteFile(forwardingSysctl, []byte("1"), 0); err != nil {
		return fmt.Errorf("turn on IP forwarding: %w", err)
	}
	return nil
}

func forwarding() (bool, error) {
	b, err := os.ReadFile(forwardingSysctl)
	if err != nil {
		return false, fmt.Errorf("read whether IP forwarding is on: %w", err)
	}
	return string(bytes.TrimSpace(b)) != "0", nil
}

// disableIPv6 turns IPv6 off on an interface of the calling thread's namespace, or on "all". A kernel without IPv6 needs nothing.
func disableIPv6(iface string) error {
	err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", iface, "disable_ipv6"), []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("turn off IPv6 on %s: %w", iface, err)
	}
	return nil
}

// ownLinks lists the instance's interfaces on the host.
func ownLinks(instance string) ([]netlink.Link, error) {
	all, err := netdump.Whole(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list the host's interfaces: %w", err)
	}
	var own []netlink.Link
	for _, l := range all {
		name := l.Attrs().Name
		number, veth := strings.CutPrefix(name, vethPrefix(instance))
		if _, err := strconv.ParseUint(number, 10, 32); name == forwarderName(instance) || (veth && err == nil) {
			own = append(own, l)
		}
	}
	return own, nil
}

func ipNet(addr netip.Addr, bits int) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(bits, 8*len(addr.AsSlice()))}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits).Masked(), ok
}
