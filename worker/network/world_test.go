package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/worker/container"
)

// Addresses of the world outside the host, all in one namespace behind the host's uplink.
const (
	uplinkHost   = "192.0.2.2"
	uplinkRouter = "192.0.2.1"
	public       = "198.51.100.10"
	public2      = "203.0.113.7"
	private      = "10.77.0.10"
	metadata     = "169.254.169.254"
	resolver     = "10.77.0.53" // private, as many are: only the forwarder may ask it
	port         = "8080"
	instance     = "0a1b2c"
)

var elsewhere = []string{
	public, public2, private, metadata, resolver, "172.16.9.9", "192.168.9.9", "100.64.0.9", "100.100.100.200", "192.0.0.192", "168.63.129.16",
}

// world is an internet for tests: the process's own namespace is the host, and all others are behind its uplink.
type world struct {
	t    testing.TB
	path string // of the namespace with everybody else
}

var theWorld struct {
	once sync.Once
	err  error
	path string
}

// newWorld returns the world, which is made once for all tests of the process.
func newWorld(t testing.TB) *world {
	t.Helper()
	theWorld.once.Do(func() {
		var dir string
		if dir, theWorld.err = os.MkdirTemp("", "skerry-world-"); theWorld.err == nil {
			theWorld.path = filepath.Join(dir, "netns")
			theWorld.err = makeWorld(theWorld.path)
		}
	})
	if theWorld.err != nil {
		t.Fatal(theWorld.err)
	}
	return &world{t: t, path: theWorld.path}
}

// endWorld removes what newWorld left on the disk, if it was called.
func endWorld() error {
	if theWorld.path == "" {
		return nil
	}
	return errors.Join(removeNamespace(theWorld.path), os.Remove(filepath.Dir(theWorld.path)))
}

func makeWorld(path string) error {
	host, err := os.Open(threadNetns)
	if err != nil {
		return err
	}
	if err := makeNamespace(path, func() error { return withLinks(func(l *netlink.Handle) error { return wireWorld(l, host) }) }); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	up, err := netlink.LinkByName("up0")
	if err != nil {
		return err
	}
	_, everywhere, _ := net.ParseCIDR("0.0.0.0/0")
	return errors.Join(
		netlink.LinkSetUp(lo), netlink.AddrAdd(up, &netlink.Addr{IPNet: ipNet(netip.MustParseAddr(uplinkHost), 24)}),
		netlink.LinkSetUp(up), netlink.RouteAdd(&netlink.Route{LinkIndex: up.Attrs().Index, Dst: everywhere, Gw: net.ParseIP(uplinkRouter)}))
}

func wireWorld(l *netlink.Handle, host *os.File) error {
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: "down0", MTU: 1400})
	veth.PeerName, veth.PeerNamespace, veth.PeerMTU = "up0", netlink.NsFd(host.Fd()), 1400
	if err := l.LinkAdd(veth); err != nil {
		return err
	}
	lo, err := l.LinkByName("lo")
	if err != nil {
		return err
	}
	errs := []error{l.LinkSetUp(lo), l.AddrAdd(veth, &netlink.Addr{IPNet: ipNet(netip.MustParseAddr(uplinkRouter), 24)}), l.LinkSetUp(veth)}
	for _, a := range elsewhere {
		errs = append(errs, l.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.MustParseAddr(a), 32)}))
	}
	// Back to everything else over the host, so that only rules, not missing routes, keep packets away.
	gw := net.ParseIP(uplinkHost)
	for _, inner := range []string{"10.219.0.0/16", buildSubnet.String()} {
		errs = append(errs, l.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Dst: ipNet(netip.MustParsePrefix(inner).Addr(), 16), Gw: gw}))
	}
	return errors.Join(errs...)
}

// within runs f on a thread in a namespace; sockets that f opens stay there.
func within(path string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		ns, err := os.Open(path)
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// serveGreeting accepts TCP connections in a namespace until the test ends and writes text and the peer's address to each.
func serveGreeting(t testing.TB, namespace, address, text string) {
	t.Helper()
	var l net.Listener
	err := within(namespace, func() (err error) {
		l, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(c, "%s %s", text, c.RemoteAddr())
			_ = c.Close()
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
}

// startNetwork runs a network in the host's namespace for the test's time.
func startNetwork(t testing.TB, change func(*Config)) *Network {
	t.Helper()
	cfg := testConfig(t.TempDir())
	if change != nil {
		change(&cfg)
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runNetwork(t, n)
	return n
}

func runNetwork(t testing.TB, n *Network) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var ended error
	var wg sync.WaitGroup
	wg.Go(func() { ended = n.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := errors.Join(ended, n.Close()); err != nil {
			t.Error(err)
		}
	})
}

func testConfig(dir string) Config {
	return Config{
		Instance: instance, CIDR: netip.MustParsePrefix("10.219.0.0/16"), PoolSize: 2, RunDir: filepath.Join(dir, "netns"),
		Upstreams: []string{resolver}, Log: slog.New(slog.DiscardHandler),
	}
}

func acquire(t *testing.T, n *Network, block bool) *container.Endpoint {
	t.Helper()
	e, err := n.Acquire(t.Context(), "ta-test", block)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

const (
	dialTimeout  = 3 * time.Second        // for what must be reached
	closedProbes = 500 * time.Millisecond // for what must not be, and may answer nothing
)

// dial connects from an endpoint and returns what is said there.
func dial(e *container.Endpoint, address string, timeout time.Duration) (string, error) {
	var said []byte
	err := within(e.NetnsPath, func() error {
		c, err := net.DialTimeout("tcp", address, timeout)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		said, err = io.ReadAll(c)
		return err
	})
	return string(said), err
}

func wantReached(t *testing.T, e *container.Endpoint, address, text string) {
	t.Helper()
	if said, err := dial(e, address, dialTimeout); err != nil || !strings.HasPrefix(said, text) {
		t.Errorf("dial %s: got %q, %v; want %q", address, said, err, text)
	}
}

func wantClosed(t *testing.T, e *container.Endpoint, address string) {
	t.Helper()
	if said, err := dial(e, address, closedProbes); err == nil {
		t.Errorf("dial %s: reached, and heard %q", address, said)
	}
}

// serveNames answers A queries at the resolver, truncated over UDP if the name begins with "big.".
func serveNames(t *testing.T, w *world, answer string) {
	t.Helper()
	serveDNS(t, w, mdns.HandlerFunc(func(rw mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		if strings.HasPrefix(q.Question[0].Name, "big.") && rw.RemoteAddr().Network() == "udp" {
			m.Truncated = true
		} else if rr, err := mdns.NewRR(q.Question[0].Name + " 60 IN A " + answer); err == nil {
			m.Answer = append(m.Answer, rr)
		}
		_ = rw.WriteMsg(m)
	}))
}

// serveDNS serves at the resolver.
func serveDNS(t testing.TB, w *world, handler mdns.Handler) {
	t.Helper()
	var p net.PacketConn
	var l net.Listener
	err := within(w.path, func() (err error) {
		if p, err = net.ListenPacket("udp", resolver+":53"); err != nil {
			return err
		}
		l, err = net.Listen("tcp", resolver+":53")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*mdns.Server{{PacketConn: p, Handler: handler}, {Listener: l, Handler: handler}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.ActivateAndServe(); err != nil {
				t.Error(err)
			}
		})
		<-started
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Error(err)
			}
			wg.Wait()
		})
	}
}
