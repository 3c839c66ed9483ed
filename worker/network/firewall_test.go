package network

import (
	"context"
	"log/slog"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/skerry-dev/skerry/worker/network/policy"
	"github.com/skerry-dev/skerry/worker/network/rules"
)

// TestProbesReach is a test of the tests: what they find closed is closed by the rules and by nothing else.
func TestProbesReach(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveGreeting(t, threadNetns, ":"+port, "host")
	n := startNetwork(t, nil)
	a, b := acquire(t, n, false), acquire(t, n, false)
	serveGreeting(t, b.NetnsPath, "0.0.0.0:"+port, "other container")
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := &nftables.Table{Name: tableName(instance), Family: nftables.TableFamilyINet}
	for _, chain := range []string{"prerouting", "forward", "input"} {
		conn.FlushChain(&nftables.Chain{Name: chain, Table: table})
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, address := range elsewhere {
		wantReached(t, a, address+":"+port, "world")
	}
	for _, address := range []string{uplinkHost, n.Nameserver().String(), n.addresses.hostEnd(n.taken[b.NetnsPath].slot).String()} {
		wantReached(t, a, address+":"+port, "host")
	}
	wantReached(t, a, b.Address+":"+port, "other container")

	arrived := listenPackets(t, w.path)
	if err := sendFrom(a, "198.51.100.99", "spoofed"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, arrived); got != "spoofed" {
		t.Errorf("arrived: %q", got)
	}
}

// TestHostFirewall runs beside iptables rules as Docker and ufw leave them: everything that nobody accepts is dropped.
func TestHostFirewall(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveGreeting(t, threadNetns, ":"+port, "host")
	serveNames(t, w, public)
	run(t, "iptables-nft", "-P", "FORWARD", "DROP")
	run(t, "iptables-nft", "-P", "INPUT", "DROP")
	run(t, "iptables-nft", "-A", "INPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
	// Somebody who opens everything does not open what is closed to containers.
	run(t, "iptables-nft", "-t", "mangle", "-A", "FORWARD", "-j", "ACCEPT")
	t.Cleanup(func() {
		run(t, "nft", "delete", "table", "ip", "filter")
		run(t, "nft", "delete", "table", "ip", "mangle")
	})
	before := run(t, "iptables-nft", "-S")
	found, err := rules.Obstacles(tableName(instance))
	if err != nil || len(found) != 2 {
		t.Errorf("obstacles before: %v, %v; want both chains", found, err)
	}

	t.Run("running", func(t *testing.T) {
		n := startNetwork(t, nil)
		e := acquire(t, n, false)
		wantReached(t, e, public+":"+port, "world")
		wantClosed(t, e, private+":"+port)
		wantClosed(t, e, uplinkHost+":"+port)
		if reply, err := lookup(e, "udp", e.Nameserver, "public.example."); err != nil || len(reply.Answer) != 1 {
			t.Errorf("DNS: got %v, %v", reply, err)
		}
		if got := run(t, "iptables-nft", "-S"); !strings.Contains(got, "-A FORWARD -i "+vethPrefix(instance)+"+") {
			t.Errorf("iptables can't show our rules: %s", got)
		}
	})
	if after := run(t, "iptables-nft", "-S"); after != before {
		t.Errorf("iptables before:\n%safter:\n%s", before, after)
	}
}

// TestDoctor sees a ruleset of an administrator's own that drops what is forwarded.
func TestDoctor(t *testing.T) {
	newWorld(t)
	for _, c := range Doctor(instance) {
		if !c.OK {
			t.Errorf("%s: %s (%s)", c.Name, c.Detail, c.Fix)
		}
	}
	run(t, "nft", "add table inet admin; add chain inet admin passing { type filter hook forward priority 0; policy drop; }")
	t.Cleanup(func() { run(t, "nft", "delete", "table", "inet", "admin") })
	var fix string
	for _, c := range Doctor(instance) {
		if !c.OK {
			fix += c.Fix
		}
	}
	if !strings.Contains(fix, "nft insert rule inet admin passing iifname") {
		t.Errorf("fix: %q", fix)
	}
	if found := leftovers(t, t.TempDir()+"/none"); len(found) > 0 {
		t.Errorf("left over: %v", found)
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// listenPackets listens for the datagrams of sendFrom.
func listenPackets(t *testing.T, namespace string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := within(namespace, func() (err error) {
		c, err = net.ListenPacket("udp4", "0.0.0.0:9")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func receive(t *testing.T, c net.PacketConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	size, _, err := c.ReadFrom(buffer)
	if err != nil {
		t.Fatal(err)
	}
	return string(buffer[:size])
}

// silence waits for a datagram that must not come, and returns it if it does.
func silence(t *testing.T, c net.PacketConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(closedProbes)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	size, _, err := c.ReadFrom(buffer)
	if err != nil {
		return ""
	}
	return string(buffer[:size])
}

// TestFlushed removes every table as a reload of the host's firewall does: the rules come back with what was in them.
func TestFlushed(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	back := make(chan struct{}, 1)
	n := startNetwork(t, func(c *Config) { c.Log = slog.New(&signalHandler{message: "it is back", seen: back}) })
	serveNames(t, w, public)
	e := acquire(t, n, false)
	named, err := n.AcquireWith(t.Context(), "sb-named", policy.Policy{Domains: []string{"name.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := lookup(named, "udp", named.Nameserver, "name.example."); err != nil || len(reply.Answer) != 1 {
		t.Fatalf("DNS: got %v, %v", reply, err)
	}
	wantReached(t, e, public+":"+port, "world")
	for range 2 {
		run(t, "nft", "flush", "ruleset")
		<-back
		wantReached(t, e, public+":"+port, "world")
		wantClosed(t, e, private+":"+port)
		wantReached(t, named, public+":"+port, "world")
		wantClosed(t, named, public2+":"+port)
	}
	run(t, "nft", "flush", "ruleset") // the next change comes before or after it is noticed
	if err := n.SetPolicy(named, policy.Policy{CIDRs: prefixes(public2 + "/32")}); err != nil {
		t.Error(err)
	}
	<-back
	wantReached(t, named, public2+":"+port, "world")
	wantClosed(t, named, public+":"+port)
	if err := n.Release(e); err != nil {
		t.Error(err)
	}
	wantReached(t, acquire(t, n, false), public+":"+port, "world")
}

// signalHandler tells when something is logged.
type signalHandler struct {
	slog.Handler
	message string
	seen    chan struct{}
}

func (h *signalHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *signalHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.message) {
		h.seen <- struct{}{}
	}
	return nil
}

// TestConnectionsAreBounded opens datagram sockets, each of which is a connection to the kernel.
func TestConnectionsAreBounded(t *testing.T) {
	w := newWorld(t)
	n := startNetwork(t, nil)
	e := acquire(t, n, false)
	arrived := listenPackets(t, w.path)
	// Until the first one is there the kernel keeps only some that wait for the neighbour's address.
	if err := sendFrom(e, e.Address, "first"); err != nil {
		t.Fatal(err)
	}
	receive(t, arrived)
	err := within(e.NetnsPath, func() error {
		for source := range rules.MaxConnections + 100 {
			c, err := net.DialUDP("udp4", &net.UDPAddr{Port: 10000 + source}, &net.UDPAddr{IP: net.ParseIP(public), Port: 9})
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("x")) // refused from the limit on, which it may hear of here
			_ = c.Close()
			if err != nil && source < rules.MaxConnections {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, "nft", "list", "set", "inet", tableName(instance), "flows")
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, netlink.InetFamily(netlink.FAMILY_V4))
	if err != nil {
		t.Fatal(err)
	}
	open := 0
	for _, f := range flows {
		if f.Forward.SrcIP.String() == e.Address {
			open++
		}
	}
	if open < rules.MaxConnections*9/10 || open > rules.MaxConnections*11/10 { // the kernel counts each processor's a little late
		t.Errorf("%d connections, want about %d: %s", open, rules.MaxConnections, out)
	}
}
