package network

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// TestUplinkMTU has default routes of every kind that hosts have.
func TestUplinkMTU(t *testing.T) {
	_, everywhere, _ := net.ParseCIDR("0.0.0.0/0")
	for name, c := range map[string]struct {
		routes func(a, b int) []*netlink.Route
		want   int
	}{
		"none": {func(int, int) []*netlink.Route { return nil }, defaultMTU},
		"one":  {func(a, _ int) []*netlink.Route { return []*netlink.Route{{LinkIndex: a, Dst: everywhere}} }, 1400},
		"several": {func(a, b int) []*netlink.Route {
			return []*netlink.Route{{LinkIndex: a, Dst: everywhere}, {LinkIndex: b, Dst: everywhere, Priority: 9}}
		}, 1300},
		"one with several hops": {func(a, b int) []*netlink.Route {
			return []*netlink.Route{{Dst: everywhere, MultiPath: []*netlink.NexthopInfo{{LinkIndex: a}, {LinkIndex: b}}}}
		}, 1300},
		"one that refuses": {func(a, _ int) []*netlink.Route {
			return []*netlink.Route{{LinkIndex: a, Dst: everywhere}, {Dst: everywhere, Type: unix.RTN_UNREACHABLE, Priority: 9}}
		}, 1400},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "netns")
			mtu := 0
			err := makeNamespace(path, func() error {
				return withLinks(func(l *netlink.Handle) error {
					a, b := netlink.NewVeth(netlink.LinkAttrs{Name: "a", MTU: 1400}), netlink.NewVeth(netlink.LinkAttrs{Name: "b", MTU: 1300})
					a.PeerName, b.PeerName = "a2", "b2"
					for _, veth := range []*netlink.Veth{a, b} {
						if err := errors.Join(l.LinkAdd(veth), l.LinkSetUp(veth)); err != nil {
							return err
						}
						peer, err := l.LinkByName(veth.PeerName)
						if err := errors.Join(err, l.LinkSetUp(peer)); err != nil {
							return err
						}
					}
					for _, r := range c.routes(a.Index, b.Index) {
						if err := l.RouteAdd(r); err != nil {
							return err
						}
					}
					var err error
					mtu, err = uplinkMTU()
					return err
				})
			})
			if err := errors.Join(err, removeNamespace(path)); err != nil {
				t.Fatal(err)
			}
			if mtu != c.want {
				t.Errorf("MTU %d, want %d", mtu, c.want)
			}
		})
	}
}
