package network

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(texts))
	for _, t := range texts {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

// TestPolicies tries each kind of policy at creation and as a change to an endpoint that was open.
func TestPolicies(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveGreeting(t, threadNetns, ":"+port, "host")
	n := startNetwork(t, func(c *Config) { c.AllowPrivate = prefixes(private + "/32") })
	for name, c := range map[string]struct {
		policy       policy.Policy
		open, closed []string
	}{
		"open":            {policy.Policy{}, []string{public, public2, private}, []string{"192.168.9.9"}},
		"one address":     {policy.Policy{CIDRs: prefixes(public + "/32")}, []string{public}, []string{public2, private}},
		"ranges":          {policy.Policy{CIDRs: prefixes("198.51.0.0/16", "203.0.113.0/24")}, []string{public, public2}, []string{private, uplinkRouter}},
		"everything":      {policy.Policy{CIDRs: prefixes("0.0.0.0/0")}, []string{public, public2, private}, []string{metadata, "192.168.9.9", uplinkHost, "172.16.9.9"}},
		"private ones":    {policy.Policy{CIDRs: prefixes("10.0.0.0/8", "169.254.0.0/16")}, []string{private}, []string{resolver, metadata, public, n.Nameserver().String()}},
		"nothing":         {policy.Policy{CIDRs: prefixes()}, nil, []string{public, public2, private}},
		"no domain":       {policy.Policy{Domains: []string{}}, nil, []string{public, public2, private}},
		"nothing of both": {policy.Policy{CIDRs: prefixes(), Domains: []string{}}, nil, []string{public, public2, private}},
		"ipv6 alone":      {policy.Policy{CIDRs: prefixes("2001:db8::/32", "::/0")}, nil, []string{public, public2, private}},
		"ipv6 too":        {policy.Policy{CIDRs: prefixes("2001:db8::/32", public+"/32")}, []string{public}, []string{public2, private}},
		"blocked":         {policy.Policy{Block: true}, nil, []string{public, public2, private, n.Nameserver().String()}},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := n.AcquireWith(t.Context(), "sb-made", c.policy)
			if err != nil {
				t.Fatal(err)
			}
			changed := acquire(t, n, false)
			if err := n.SetPolicy(changed, c.policy); err != nil {
				t.Fatal(err)
			}
			for _, address := range c.open {
				wantReached(t, made, address+":"+port, "world")
				wantReached(t, changed, address+":"+port, "world")
			}
			for _, address := range c.closed {
				wantClosed(t, made, address+":"+port)
				wantClosed(t, changed, address+":"+port)
			}
			if c.policy.Block != (made.Interface == "") {
				t.Errorf("made with interface %q", made.Interface)
			}
			if err := errors.Join(n.Release(made), n.Release(changed)); err != nil {
				t.Error(err)
			}
		})
	}
	// Released endpoints leave nothing in the table.
	if got := run(t, "nft", "list", "table", "inet", tableName(instance)); strings.Contains(got, "forward_") || strings.Contains(got, "ranges_") {
		t.Errorf("left over: %s", got)
	}
}

// TestPolicyChanges changes the policy of an endpoint with connections in use.
func TestPolicyChanges(t *testing.T) {
	w := newWorld(t)
	serveEcho(t, w.path)
	n := startNetwork(t, nil)
	e, neighbour := acquire(t, n, false), acquire(t, n, false)
	theirs := connect(t, neighbour, public2+":"+echoPort)
	set := func(p policy.Policy) {
		t.Helper()
		if err := n.SetPolicy(e, p); err != nil {
			t.Fatal(err)
		}
	}
	kept, cut := connect(t, e, public+":"+echoPort), connect(t, e, public2+":"+echoPort)
	wantAlive(t, "first", cut)
	set(policy.Policy{CIDRs: prefixes(public + "/32")})
	wantAlive(t, "in the list", kept)
	wantCut(t, "not in the list", cut)
	wantClosed(t, e, public2+":"+echoPort)

	set(policy.Policy{CIDRs: prefixes(public+"/32", public2+"/32")})
	wantAlive(t, "in both lists", kept)
	cut = connect(t, e, public2+":"+echoPort)
	set(policy.Policy{})
	wantAlive(t, "opened", kept)
	wantAlive(t, "opened", cut)
	set(policy.Policy{Block: true})
	wantCut(t, "blocked", kept)
	wantCut(t, "blocked", cut)
	wantClosed(t, e, public+":"+echoPort)
	if _, err := lookup(e, "udp", e.Nameserver, "name.example."); err == nil {
		t.Error("names are answered though it is blocked")
	}
	set(policy.Policy{})
	wantAlive(t, "opened again", connect(t, e, public+":"+echoPort))
	wantAlive(t, "neighbour", theirs)
}

// TestCutBothWays: what comes in over a connection ends too, though nothing goes out that rules could refuse.
func TestCutBothWays(t *testing.T) {
	w := newWorld(t)
	n := startNetwork(t, nil)
	e := acquire(t, n, false)
	var arrived, inside net.PacketConn
	err := errors.Join(within(w.path, func() (err error) {
		arrived, err = net.ListenPacket("udp4", public+":9") // not on every address: an answer has to come from this one
		return err
	}), within(e.NetnsPath, func() (err error) {
		inside, err = net.ListenPacket("udp4", "0.0.0.0:0")
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = arrived.Close(), inside.Close() })
	if _, err := inside.WriteTo([]byte("hello"), &net.UDPAddr{IP: net.ParseIP(public), Port: 9}); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 100)
	_, from, err := arrived.ReadFrom(buffer)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(text string) {
		t.Helper()
		if _, err := arrived.WriteTo([]byte(text), from); err != nil {
			t.Fatal(err)
		}
	}
	answer("one")
	if got := receive(t, inside); got != "one" {
		t.Fatalf("got %q", got)
	}
	for _, p := range []policy.Policy{{CIDRs: prefixes(public2 + "/32")}, {Block: true}} {
		if err := n.SetPolicy(e, p); err != nil {
			t.Fatal(err)
		}
		answer("two")
		if got := silence(t, inside); got != "" {
			t.Errorf("%+v: got %q", p, got)
		}
	}
}

func TestPolicyErrors(t *testing.T) {
	newWorld(t)
	n := startNetwork(t, nil)
	if _, err := n.AcquireWith(t.Context(), "sb-bad", policy.Policy{Domains: []string{"a b"}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("invalid policy: %v", err)
	}
	e, blocked := acquire(t, n, false), acquire(t, n, true)
	if err := n.SetPolicy(e, policy.Policy{Block: true, Domains: []string{}}); !errors.Is(err, fault.Invalid) {
		t.Errorf("invalid change: %v", err)
	}
	if err := n.SetPolicy(blocked, policy.Policy{Block: true}); err != nil {
		t.Errorf("blocked again: %v", err)
	}
	if err := n.SetPolicy(blocked, policy.Policy{}); !errors.Is(err, fault.Precondition) {
		t.Errorf("opened without an interface: %v", err)
	}
	if err := n.Release(e); err != nil {
		t.Fatal(err)
	}
	if err := n.SetPolicy(e, policy.Policy{}); !errors.Is(err, fault.NotFound) {
		t.Errorf("released: %v", err)
	}
}

func TestTraffic(t *testing.T) {
	w := newWorld(t)
	serveEcho(t, w.path)
	n := startNetwork(t, nil)
	e, blocked := acquire(t, n, false), acquire(t, n, true)
	before, err := n.Traffic(e)
	if err != nil || before.Sent != 0 {
		t.Fatalf("an endpoint that nobody has used yet: %+v, %v", before, err)
	}
	const size = 100_000
	if err := exchange(connect(t, e, public+":"+echoPort), strings.Repeat("x", size), dialTimeout); err != nil {
		t.Fatal(err)
	}
	after, err := n.Traffic(e)
	if err != nil || after.Sent-before.Sent < size || after.Received-before.Received < size {
		t.Errorf("from %+v to %+v, %v", before, after, err)
	}
	if got, err := n.Traffic(blocked); err != nil || got != (Traffic{}) {
		t.Errorf("blocked: %+v, %v", got, err)
	}
	if err := n.Release(e); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Traffic(e); !errors.Is(err, fault.NotFound) {
		t.Errorf("released: %v", err)
	}
}

// TestPoliciesAtOnce changes policies, asks for names and gives endpoints back, all at the same time.
func TestPoliciesAtOnce(t *testing.T) {
	w := newWorld(t)
	serveNames(t, w, public)
	n := startNetwork(t, func(c *Config) { c.PoolSize = 8 })
	changes := []policy.Policy{{}, {Domains: []string{"name.example"}}, {CIDRs: prefixes(public + "/32")}, {Block: true}, {Domains: []string{"*"}, CIDRs: prefixes()}}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for round := range 4 {
				e, err := n.AcquireWith(t.Context(), "sb-many", changes[(i+round)%3])
				if err != nil {
					t.Error(err)
					return
				}
				var users sync.WaitGroup
				users.Go(func() {
					for _, p := range changes {
						if err := n.SetPolicy(e, p); err != nil && !errors.Is(err, fault.NotFound) {
							t.Error(err)
						}
					}
				})
				users.Go(func() {
					for range 3 {
						_, _ = lookup(e, "udp", e.Nameserver, "name.example.") // answered or not
					}
				})
				if round%2 == 0 {
					users.Wait()
				}
				if err := n.Release(e); err != nil {
					t.Error(err)
				}
				users.Wait()
			}
		})
	}
	all.Wait()
	if got := run(t, "nft", "list", "table", "inet", tableName(instance)); strings.Contains(got, "forward_") || strings.Contains(got, "learned_") {
		t.Errorf("left over: %s", got)
	}
}
