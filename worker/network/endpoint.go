package network

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/lifecycle"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// loopbackIndex is the interface that every namespace begins with.
const loopbackIndex = 1

// guestInterface is the container's end.
const guestInterface = "eth0"

// blockedMark is in the names of blocked endpoints' namespaces.
const blockedMark = "b"

// endpoint is what an endpoint has on the host. A blocked one has the namespace alone.
type endpoint struct {
	netns   string // path
	slot    uint32
	address netip.Addr
	iface   string
	index   int // of iface, 0 before there is one

	admitted bool // in the rules

	mu      sync.Mutex // held while the policy changes
	policy  policy.Policy
	origins map[netip.Addr]origin // of learned addresses
	gone    bool                  // given up: no change any more
}

// endpoints are some of them by the paths of their namespaces.
type endpoints map[string]*endpoint

// sources are how the rules know them; blocked ones are not in the rules.
func (all endpoints) sources() []rules.Source {
	var found []rules.Source
	for _, e := range all {
		if e.admitted {
			found = append(found, e.source())
		}
	}
	return found
}

// hasLink says whether an interface belongs to one of them.
func (all endpoints) hasLink(name string) bool {
	for _, e := range all {
		if e.iface == name {
			return true
		}
	}
	return false
}

func (e *endpoint) source() rules.Source { return rules.Source{Interface: e.iface, Address: e.address} }

// makeBlocked makes a namespace with loopback only.
func (h *host) makeBlocked() (*endpoint, error) {
	e := &endpoint{netns: h.netnsPath(blockedMark + strconv.FormatUint(h.blocked.Add(1), 10))}
	return e, makeNamespace(e.netns, func() error {
		return withLinks(func(links *netlink.Handle) error { return loopbackUp(links) })
	})
}

// makeOpen makes an endpoint with a way out at the slot's addresses.
func (h *host) makeOpen(slot uint32) (*endpoint, error) {
	number := strconv.FormatUint(uint64(slot), 10)
	e := &endpoint{
		netns: h.netnsPath(number), slot: slot, address: h.addresses.containerEnd(slot), iface: vethPrefix(h.cfg.Instance) + number,
	}
	undo := lifecycle.NewCleanup()
	defer undo.Run()
	undo.Add(func() {
		// What was not made can't be removed; the error that stopped us is the one to tell.
		_ = h.remove(e)
	})
	if err := makeNamespace(e.netns, func() error { return h.wireGuest(e) }); err != nil {
		return nil, err
	}
	if err := h.wireHost(e); err != nil {
		return nil, err
	}
	if err := h.table.Add(e.source()); err != nil {
		return nil, err
	}
	e.admitted = true
	undo.Release()
	return e, nil
}

func (h *host) netnsPath(number string) string {
	return filepath.Join(h.cfg.RunDir, netnsPrefix(h.cfg.Instance)+number)
}

// wireGuest makes the veth pair and sets up the container's end; the calling thread is in the container's namespace.
func (h *host) wireGuest(e *endpoint) error {
	if err := errors.Join(disableIPv6("all"), disableIPv6("default")); err != nil {
		return err
	}
	return withLinks(func(links *netlink.Handle) error {
		if err := loopbackUp(links); err != nil {
			return err
		}
		veth := netlink.NewVeth(netlink.LinkAttrs{Name: guestInterface, MTU: h.mtu})
		veth.PeerName, veth.PeerNamespace, veth.PeerMTU = e.iface, netlink.NsFd(h.namespace), uint32(h.mtu) //nolint:gosec // an MTU
		if err := links.LinkAdd(veth); err != nil {
			return fmt.Errorf("add interface %s: %w", e.iface, err)
		}
		if err := links.AddrAdd(veth, &netlink.Addr{IPNet: ipNet(e.address, endpointBits)}); err != nil {
			return fmt.Errorf("add address %s: %w", e.address, err)
		}
		if err := links.LinkSetUp(veth); err != nil {
			return fmt.Errorf("set the container's end of %s up: %w", e.iface, err)
		}
		gateway := h.addresses.hostEnd(e.slot)
		if err := links.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("add the default route over %s: %w", gateway, err)
		}
		return nil
	})
}

// wireHost sets up the host's end.
func (h *host) wireHost(e *endpoint) error {
	link, err := h.links.LinkByName(e.iface)
	if err != nil {
		return fmt.Errorf("interface %s: %w", e.iface, err)
	}
	e.index = link.Attrs().Index
	if err := disableIPv6(e.iface); err != nil {
		return err
	}
	if err := h.addAddress(link, h.addresses.hostEnd(e.slot), endpointBits); err != nil {
		return err
	}
	return h.up(link)
}

// Traffic is what has passed an endpoint's interface since it was made, in bytes. What its policy refused is in Sent.
type Traffic struct {
	Sent, Received uint64
}

// Traffic returns an endpoint's; that of a blocked one is none. Errors: fault.NotFound if it was released.
func (n *Network) Traffic(at *container.Endpoint) (Traffic, error) {
	n.mu.Lock()
	e := n.taken[at.NetnsPath]
	n.mu.Unlock()
	if e == nil {
		return Traffic{}, fault.New(fault.NotFound, "network endpoint %s: not in use", at.NetnsPath)
	}
	traffic, err := trafficOf(e)
	if err != nil {
		return Traffic{}, fmt.Errorf("network endpoint %s: %w", at.NetnsPath, err)
	}
	return traffic, nil
}

func trafficOf(e *endpoint) (Traffic, error) {
	if e.index == 0 {
		return Traffic{}, nil
	}
	link, err := netlink.LinkByIndex(e.index)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return Traffic{}, fault.New(fault.NotFound, "interface %s: gone", e.iface)
	}
	if err != nil {
		return Traffic{}, fmt.Errorf("interface %s: %w", e.iface, err)
	}
	s := link.Attrs().Statistics // as the host's end counts
	if s == nil {
		return Traffic{}, fault.New(fault.Internal, "interface %s: the kernel counts nothing", e.iface)
	}
	return Traffic{Sent: s.RxBytes, Received: s.TxBytes}, nil
}

// withLinks opens netlink in the calling thread's namespace.
func withLinks(f func(*netlink.Handle) error) error {
	links, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer links.Close()
	return f(links)
}

func loopbackUp(links *netlink.Handle) error {
	if err := links.LinkSetUp(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: loopbackIndex, Name: "lo"}}); err != nil {
		return fmt.Errorf("set the loopback interface up: %w", err)
	}
	return nil
}
