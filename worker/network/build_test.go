package network

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/skerry-dev/skerry/worker/container"
)

const buildBridge = "sktestbr"

var buildSubnet = netip.MustParsePrefix("10.10.0.0/16")

// TestBuildBridge does what a builder's bridge plugin does and looks at the rules from two builds.
func TestBuildBridge(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveGreeting(t, threadNetns, ":"+port, "host")
	serveNames(t, w, public)
	n := startNetwork(t, func(c *Config) { c.BuildBridge, c.BuildSubnet = buildBridge, buildSubnet })
	e := acquire(t, n, false)
	serveGreeting(t, e.NetnsPath, "0.0.0.0:"+port, "container")

	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: buildBridge}}
	gateway := netip.MustParseAddr("10.10.0.1")
	if err := errors.Join(netlink.LinkAdd(bridge), netlink.AddrAdd(bridge, &netlink.Addr{IPNet: ipNet(gateway, 16)}), netlink.LinkSetUp(bridge)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netlink.LinkDel(bridge); err != nil {
			t.Error(err)
		}
	})
	a, b := addBuild(t, bridge, "10.10.0.2"), addBuild(t, bridge, "10.10.0.3")
	serveGreeting(t, b.NetnsPath, "0.0.0.0:"+port, "other build")

	// The plugin masquerades builds; here the world knows the way back instead.
	wantReached(t, a, public+":"+port, "world 10.10.0.2")
	for _, closed := range []string{private, metadata, uplinkHost, gateway.String(), n.Nameserver().String(), e.Address, b.Address} {
		t.Run("closed "+closed, func(t *testing.T) { wantClosed(t, a, closed+":"+port) })
	}
	wantClosed(t, e, b.Address+":"+port)
	if reply, err := lookup(a, "udp", n.Nameserver().String(), "public.example."); err != nil || len(reply.Answer) != 1 {
		t.Errorf("DNS from a build: got %v, %v", reply, err)
	}
}

// addBuild makes a namespace that is a port of the bridge.
func addBuild(t *testing.T, bridge netlink.Link, address string) *container.Endpoint {
	t.Helper()
	path, name := filepath.Join(t.TempDir(), "netns"), "build"+address[len("10.10.0."):]
	host, err := os.Open(threadNetns)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	err = makeNamespace(path, func() error {
		return withLinks(func(links *netlink.Handle) error {
			veth := netlink.NewVeth(netlink.LinkAttrs{Name: "eth0"})
			veth.PeerName, veth.PeerNamespace = name, netlink.NsFd(host.Fd())
			if err := links.LinkAdd(veth); err != nil {
				return err
			}
			return errors.Join(
				links.AddrAdd(veth, &netlink.Addr{IPNet: ipNet(netip.MustParseAddr(address), 16)}), links.LinkSetUp(veth),
				links.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Gw: net.ParseIP("10.10.0.1")}))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	port, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkSetMaster(port, bridge), netlink.LinkSetUp(port)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(netlink.LinkDel(port), removeNamespace(path)); err != nil {
			t.Error(err)
		}
	})
	return &container.Endpoint{NetnsPath: path, Address: address}
}
