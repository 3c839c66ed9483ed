package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// serveEcho accepts TCP connections at echoPort in a namespace until the test ends and sends back what it gets.
func serveEcho(t testing.TB, namespace string) {
	t.Helper()
	var l net.Listener
	err := within(namespace, func() (err error) {
		l, err = net.Listen("tcp", "0.0.0.0:"+echoPort)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			wg.Go(func() {
				defer stop()
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// connect opens a connection from an endpoint, for the test's time.
func connect(t *testing.T, e *container.Endpoint, address string) net.Conn {
	t.Helper()
	var c net.Conn
	err := within(e.NetnsPath, func() (err error) {
		c, err = net.DialTimeout("tcp", address, dialTimeout)
		return err
	})
	if err != nil {
		t.Fatalf("connect to %s: %v", address, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange says something over a connection to an echo and waits until it is back.
func exchange(c net.Conn, text string, timeout time.Duration) error {
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return err
	}
	back := make([]byte, len(text))
	if _, err := io.ReadFull(c, back); err != nil {
		return err
	}
	if string(back) != text {
		return fmt.Errorf("got %q back", back)
	}
	return nil
}

func wantAlive(t *testing.T, what string, c net.Conn) {
	t.Helper()
	if err := exchange(c, what, dialTimeout); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func wantCut(t *testing.T, what string, c net.Conn) {
	t.Helper()
	if err := exchange(c, what, closedProbes); err == nil {
		t.Errorf("%s: the connection goes on", what)
	}
}

const echoPort = "7007"

// TestAdopt kills a process with a running network and has another take over its endpoints, while connections are in use and others are
// tried all the time.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	serveEcho(t, w.path)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	serveNames(t, w, public)
	dir := t.TempDir()
	all, kill := startCrash(t, dir)
	open, listed, blocked, later := all["open"].Endpoint, all["listed"].Endpoint, all["made blocked"].Endpoint, all["blocked later"].Endpoint
	named := all["named"].Endpoint
	wantClosed(t, &named, public+":"+port)
	if reply, err := lookup(&named, "udp", named.Nameserver, "name.example."); err != nil || len(reply.Answer) != 1 {
		t.Fatalf("DNS: got %v, %v", reply, err)
	}
	inUse := map[string]net.Conn{
		"open": connect(t, &open, public2+":"+echoPort), "listed": connect(t, &listed, public+":"+echoPort), "named": connect(t, &named, public+":"+echoPort),
	}
	check := func(when string) {
		t.Helper()
		for name, c := range inUse {
			wantAlive(t, when+": "+name, c)
		}
		wantReached(t, &open, public2+":"+port, "world")
		wantReached(t, &listed, public+":"+port, "world")
		wantReached(t, &named, public+":"+port, "world") // as its name server has said, which stays known
		for e, address := range map[*container.Endpoint]string{&open: private, &listed: public2, &named: public2, &blocked: public, &later: public} {
			wantClosed(t, e, address+":"+port)
		}
	}
	check("before")
	unwanted, err := netlink.LinkByName(all["not kept"].Endpoint.Interface)
	if err != nil {
		t.Fatal(err)
	}
	serveGreeting(t, w.path, "0.0.0.0:443", "world")
	kill()
	check("nobody there")
	wantClosed(t, &named, public+":443") // which is the proxy's

	ctx, stop := context.WithCancel(t.Context())
	var tries sync.WaitGroup
	// A packet that finds no rules, or rules without its endpoint, makes one of these fail.
	tries.Go(func() {
		for ctx.Err() == nil {
			if said, err := dial(&open, public2+":"+port, dialTimeout); err != nil {
				t.Errorf("open endpoint meanwhile: %q, %v", said, err)
			}
		}
	})
	tries.Go(func() {
		for ctx.Err() == nil {
			if said, err := dial(&listed, public2+":"+port, closedProbes); err == nil {
				t.Errorf("listed endpoint meanwhile: heard %q", said)
			}
		}
	})
	tries.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			for name, c := range inUse {
				wantAlive(t, fmt.Sprintf("%s meanwhile %d", name, i), c)
			}
		}
	})

	n, err := New(testConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"open", "listed", "made blocked", "blocked later", "named"}
	var kept []Kept
	for _, name := range names {
		kept = append(kept, all[name])
	}
	adopted := n.Adopt(kept)
	runNetwork(t, n)
	fresh := acquire(t, n, false) // it runs
	stop()
	tries.Wait()

	for i, a := range adopted {
		if a.Err != nil || *a.Endpoint != kept[i].Endpoint {
			t.Fatalf("%s: got %+v, %v; want %+v", names[i], a.Endpoint, a.Err, kept[i].Endpoint)
		}
	}
	check("after")
	if _, err := netlink.LinkByIndex(unwanted.Attrs().Index); err == nil {
		t.Error("an endpoint that nobody wants is still there")
	}
	if reply, err := lookup(&open, "udp", open.Nameserver, "name.example."); err != nil || len(reply.Answer) != 1 {
		t.Errorf("DNS: got %v, %v", reply, err)
	}
	wantReached(t, fresh, public+":"+port, "world")
	if slices.ContainsFunc(kept, func(k Kept) bool { return k.Endpoint.Address == fresh.Address }) {
		t.Errorf("a new endpoint has the address %s of an adopted one", fresh.Address)
	}

	// They are like any other now.
	if err := n.SetPolicy(adopted[1].Endpoint, policy.Policy{}); err != nil {
		t.Error(err)
	}
	wantReached(t, &listed, public2+":"+port, "world")
	for _, a := range adopted {
		if err := n.Release(a.Endpoint); err != nil {
			t.Error(err)
		}
	}
	wantCut(t, "released", inUse["open"])
	if _, err := os.Stat(open.NetnsPath); err == nil {
		t.Error("a released endpoint's namespace is still there")
	}
}

// TestLeave ends a network in good order and leaves one of its endpoints to the next.
func TestLeave(t *testing.T) {
	w := newWorld(t)
	serveEcho(t, w.path)
	cfg := testConfig(t.TempDir())
	cfg.CIDR = netip.Prefix{} // picked again by the next
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	only := policy.Policy{CIDRs: []netip.Prefix{netip.MustParsePrefix(public + "/32")}}
	left, err := n.AcquireWith(t.Context(), "sb-left", only)
	if err != nil {
		t.Fatal(err)
	}
	other, back := acquire(t, n, false), acquire(t, n, true)
	c := connect(t, left, public+":"+echoPort)
	n.Leave(left)
	n.Leave(back)
	if err := n.Release(back); err != nil { // which takes it back
		t.Fatal(err)
	}
	cancel()
	if err := errors.Join(<-ended, n.Close()); err != nil {
		t.Fatal(err)
	}
	wantAlive(t, "left", c)
	wantClosed(t, left, public2+":"+echoPort)
	for _, path := range []string{other.NetnsPath, back.NetnsPath} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
	if got := leftovers(t, cfg.RunDir); len(got) != 6 { // interface, name server's, two mounts, folder, table
		t.Errorf("left: %v", got)
	}

	next, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if next.CIDR() != n.CIDR() {
		t.Errorf("the next network picked %s, not %s", next.CIDR(), n.CIDR())
	}
	adopted := next.Adopt([]Kept{{Endpoint: *left, ContainerID: "sb-left", Policy: only}})
	if adopted[0].Err != nil {
		t.Fatal(adopted[0].Err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	go func() { ended <- next.Run(ctx) }()
	acquire(t, next, false)
	wantAlive(t, "adopted", c)
	wantClosed(t, left, public2+":"+echoPort)
	cancel()
	if err := errors.Join(<-ended, next.Close()); err != nil {
		t.Fatal(err)
	}
	if got := leftovers(t, cfg.RunDir); len(got) > 0 {
		t.Errorf("left over: %v", got)
	}
}

// TestAdoptChecks: names come from a record on a disk and are not taken on trust.
func TestAdoptChecks(t *testing.T) {
	newWorld(t)
	n := startNetwork(t, nil)
	good := *acquire(t, n, false)
	late := n.Adopt([]Kept{{Endpoint: good}})
	if !errors.Is(late[0].Err, fault.Precondition) {
		t.Errorf("after Run: %v", late[0].Err)
	}
	cfg := testConfig(t.TempDir())
	cfg.RunDir = n.cfg.RunDir
	other, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	change := func(f func(*container.Endpoint)) container.Endpoint { e := good; f(&e); return e }
	for name, c := range map[string]struct {
		endpoint container.Endpoint
		policy   policy.Policy
		want     error
	}{
		"another folder":  {change(func(e *container.Endpoint) { e.NetnsPath = "/run/netns/sk0a1b2c-1" }), policy.Policy{}, fault.Invalid},
		"out of it":       {change(func(e *container.Endpoint) { e.NetnsPath = cfg.RunDir + "/../netns/sk0a1b2c-1" }), policy.Policy{}, fault.Invalid},
		"another's":       {change(func(e *container.Endpoint) { e.NetnsPath = cfg.RunDir + "/skffffff-1" }), policy.Policy{}, fault.Invalid},
		"another address": {change(func(e *container.Endpoint) { e.Address = "10.219.3.2" }), policy.Policy{}, fault.Invalid},
		"the host's end":  {change(func(e *container.Endpoint) { e.Address = "10.219.0.1" }), policy.Policy{}, fault.Invalid},
		"out of range":    {change(func(e *container.Endpoint) { e.Address = "192.0.2.2" }), policy.Policy{}, fault.Invalid},
		"no address":      {change(func(e *container.Endpoint) { e.Address = "" }), policy.Policy{}, fault.Invalid},
		"host interface":  {change(func(e *container.Endpoint) { e.Interface = "up0" }), policy.Policy{}, fault.Invalid},
		"gone":            {container.Endpoint{NetnsPath: cfg.RunDir + "/sk0a1b2c-b77"}, policy.Policy{}, fault.NotFound},
		"bad policy":      {good, policy.Policy{Domains: []string{"http://"}}, fault.Invalid},
	} {
		if got := other.Adopt([]Kept{{Endpoint: c.endpoint, Policy: c.policy}})[0]; !errors.Is(got.Err, c.want) || got.Endpoint != nil {
			t.Errorf("%s: got %v, %v; want %v", name, got.Endpoint, got.Err, c.want)
		}
	}
	if twice := other.Adopt([]Kept{{Endpoint: good}, {Endpoint: good}}); twice[0].Err != nil || !errors.Is(twice[1].Err, fault.Exists) {
		t.Errorf("twice: %v, %v", twice[0].Err, twice[1].Err)
	}
}
