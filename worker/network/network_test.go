package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
	"github.com/vishvananda/netlink"

	"github.com/skerry-dev/skerry/internal/netdump"
	"github.com/skerry-dev/skerry/worker/container"
)

// TestNoWayOut is a test of the tests: nothing they send can leave for a real network.
func TestNoWayOut(t *testing.T) {
	newWorld(t)
	links, err := netdump.Whole(netlink.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if name := l.Attrs().Name; name == "eth0" {
			t.Fatalf("the tests' namespace has an interface %q", name)
		}
	}
	for _, a := range elsewhere {
		routes, err := netlink.RouteGet(net.ParseIP(a))
		if err != nil {
			t.Fatal(err)
		}
		up, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err != nil {
			t.Fatal(err)
		}
		if up.Attrs().Name != "up0" {
			t.Errorf("route to %s leaves over %s", a, up.Attrs().Name)
		}
	}
}

func TestEgress(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveGreeting(t, threadNetns, ":"+port, "host") // every address of the host, IPv6 as well
	n := startNetwork(t, nil)
	a, b := acquire(t, n, false), acquire(t, n, false)
	serveGreeting(t, b.NetnsPath, "0.0.0.0:"+port, "other container")

	t.Run("public is open, under the host's address", func(t *testing.T) {
		wantReached(t, a, public+":"+port, "world "+uplinkHost)
		wantReached(t, a, public2+":"+port, "world "+uplinkHost)
		wantReached(t, a, uplinkRouter+":"+port, "world "+uplinkHost)
	})
	for _, address := range elsewhere[2:] {
		t.Run("closed "+address, func(t *testing.T) { wantClosed(t, a, address+":"+port) })
	}
	host := []string{uplinkHost, n.Nameserver().String(), n.addresses.hostEnd(n.taken[a.NetnsPath].slot).String(), n.addresses.hostEnd(n.taken[b.NetnsPath].slot).String()}
	for _, address := range host {
		t.Run("host "+address, func(t *testing.T) { wantClosed(t, a, address+":"+port) })
	}
	t.Run("other container", func(t *testing.T) { wantClosed(t, a, b.Address+":"+port) })
	t.Run("into a container", func(t *testing.T) {
		wantClosed(t, &container.Endpoint{NetnsPath: w.path}, b.Address+":"+port)
	})
	t.Run("ipv6", func(t *testing.T) {
		err := within(a.NetnsPath, func() error {
			_, err := net.Listen("tcp6", "[::1]:0")
			return err
		})
		if err == nil {
			t.Error("IPv6 works in an endpoint")
		}
	})
}

func TestAllowPrivate(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	n := startNetwork(t, func(c *Config) {
		c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("10.77.0.0/24")}
	})
	a, b := acquire(t, n, false), acquire(t, n, false)
	serveGreeting(t, b.NetnsPath, "0.0.0.0:"+port, "other container")
	wantReached(t, a, private+":"+port, "world")
	wantClosed(t, a, metadata+":"+port)
	wantClosed(t, a, "192.168.9.9:"+port)
	wantClosed(t, a, b.Address+":"+port) // in 10/8, and closed all the same
}

func TestBlocked(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveNames(t, w, public)
	n := startNetwork(t, nil)
	e := acquire(t, n, true)
	if e.Address != "" || e.Nameserver != "" || e.Interface != "" {
		t.Errorf("blocked endpoint %+v has more than a namespace", e)
	}
	for _, a := range []string{public, private, metadata, uplinkHost, n.Nameserver().String()} {
		wantClosed(t, e, a+":"+port)
	}
	if _, err := lookup(e, "udp", n.Nameserver().String(), "public.example."); err == nil {
		t.Error("DNS works in a blocked endpoint")
	}
	serveGreeting(t, e.NetnsPath, "127.0.0.1:"+port, "self")
	wantReached(t, e, "127.0.0.1:"+port, "self")
}

// TestSpoofed sends under addresses that are not the endpoint's and looks at what arrives outside.
func TestSpoofed(t *testing.T) {
	w := newWorld(t)
	n := startNetwork(t, nil)
	a, b := acquire(t, n, false), acquire(t, n, false)
	arrived := listenPackets(t, w.path)
	for _, source := range []string{b.Address, uplinkHost, "198.51.100.99", "127.0.0.2"} {
		if err := sendFrom(a, source, "spoofed "+source); err != nil {
			t.Logf("sending from %s already fails in the endpoint: %v", source, err)
		}
	}
	// The kernel keeps the order on one path, so what arrives first tells whether anything came before.
	if err := sendFrom(a, a.Address, "honest"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, arrived); got != "honest" {
		t.Errorf("arrived: %q", got)
	}
}

// sendFrom sends a datagram to the public host under a source address that the endpoint gives itself, as its root could.
func sendFrom(e *container.Endpoint, source, text string) error {
	return within(e.NetnsPath, func() error {
		if source != e.Address {
			link, err := netlink.LinkByName(guestInterface)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParseAddr(source), 32)}); err != nil {
				return err
			}
		}
		c, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(source)}, &net.UDPAddr{IP: net.ParseIP(public), Port: 9})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte(text))
		return err
	})
}

func TestNames(t *testing.T) {
	w := newWorld(t)
	serveNames(t, w, private)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	n := startNetwork(t, nil)
	e := acquire(t, n, false)
	for _, network := range []string{"udp", "tcp"} {
		reply, err := lookup(e, network, e.Nameserver, "intern.example.")
		if err != nil || len(reply.Answer) != 1 || !strings.HasSuffix(reply.Answer[0].String(), private) {
			t.Fatalf("over %s: got %v, %v", network, reply, err)
		}
	}
	// The forwarder's servers answer with a private address, which stays closed; and the servers themselves are closed as well.
	wantClosed(t, e, private+":"+port)
	if _, err := lookup(e, "udp", resolver, "intern.example."); err == nil {
		t.Error("the endpoint reaches the host's DNS server itself")
	}
	reply, err := lookup(e, "udp", e.Nameserver, "big.example.")
	if err != nil || !reply.Truncated {
		t.Errorf("large answer over udp: got %v, %v; want it truncated", reply, err)
	}
	if reply, err = lookup(e, "tcp", e.Nameserver, "big.example."); err != nil || reply.Truncated || len(reply.Answer) != 1 {
		t.Errorf("large answer over tcp: got %v, %v", reply, err)
	}
}

func lookup(e *container.Endpoint, network, server, name string) (*mdns.Msg, error) {
	var reply *mdns.Msg
	err := within(e.NetnsPath, func() (err error) {
		c := &mdns.Client{Net: network, Timeout: dialTimeout}
		reply, _, err = c.Exchange(new(mdns.Msg).SetQuestion(name, mdns.TypeA), net.JoinHostPort(server, "53"))
		return err
	})
	return reply, err
}
