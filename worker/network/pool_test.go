package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/worker/container"
)

func TestPickCIDR(t *testing.T) {
	newWorld(t)
	cfg := testConfig(t.TempDir())
	cfg.CIDR = netip.Prefix{}
	first := newPicked(t, cfg)
	n := startNetwork(t, func(c *Config) { c.CIDR = first })
	acquire(t, n, false)
	if again := newPicked(t, cfg); again != first {
		t.Errorf("the instance itself: picked %s; want %s again", again, first)
	}
	for other, want := range map[string]bool{instance: true, "0a1b2d": false} {
		cfg.Instance = other
		used, err := usedPrefixes(other)
		if err != nil {
			t.Fatal(err)
		}
		if got := !overlapsAny(first, used); got != want {
			t.Errorf("%s is free for instance %s: got %t, want %t", first, other, got, want)
		}
	}
	cfg.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12")}
	if p, _, err := pickCIDR(cfg); !errors.Is(err, fault.Precondition) {
		t.Errorf("every candidate opened: got %s, %v", p, err)
	}
}

// TestRangesAreClaimed starts networks at the same moment, before any of them has made an address that the others could see.
func TestRangesAreClaimed(t *testing.T) {
	newWorld(t)
	all := make([]*Network, len(candidates))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() {
			cfg := testConfig(t.TempDir())
			cfg.Instance, cfg.CIDR = fmt.Sprintf("%06x", i%2), netip.Prefix{} // so that they begin to look at the same places
			n, err := New(cfg)
			if err != nil {
				t.Error(err)
				return
			}
			all[i] = n
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	seen := map[netip.Prefix]bool{}
	for _, n := range all {
		seen[n.CIDR()] = true
	}
	if len(seen) != len(all) {
		t.Errorf("%d networks got the ranges %v", len(all), seen)
	}
	cfg := testConfig(t.TempDir())
	cfg.CIDR = netip.Prefix{}
	if _, err := New(cfg); !errors.Is(err, fault.Precondition) {
		t.Errorf("one network more: %v, want that no range is left", err)
	}
	for _, n := range all {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := New(cfg); err != nil {
		t.Errorf("after the others' end: %v", err)
	} else if err := n.Close(); err != nil {
		t.Error(err)
	}
}

func TestNewRefuses(t *testing.T) {
	good := testConfig(t.TempDir())
	for name, change := range map[string]func(*Config){
		"instance":         func(c *Config) { c.Instance = "nothex" },
		"narrow range":     func(c *Config) { c.CIDR = netip.MustParsePrefix("10.1.2.0/30") },
		"host bits":        func(c *Config) { c.CIDR = netip.MustParsePrefix("10.1.2.3/16") },
		"IPv6 range":       func(c *Config) { c.CIDR = netip.MustParsePrefix("fd00::/64") },
		"open the world":   func(c *Config) { c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
		"open loopback":    func(c *Config) { c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
		"bridge, no range": func(c *Config) { c.BuildBridge = buildBridge },
		"builds' range":    func(c *Config) { c.BuildBridge, c.BuildSubnet = buildBridge, c.CIDR },
		"upstream":         func(c *Config) { c.Upstreams = []string{"dns.example"} },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.1.2.0/24"))
	seen := map[uint32]bool{}
	for range a.count() - 1 {
		slot, err := a.take()
		if err != nil || slot == 0 || seen[slot] {
			t.Fatalf("slot %d, %v after %d", slot, err, len(seen))
		}
		seen[slot] = true
	}
	if _, err := a.take(); !errors.Is(err, fault.Exhausted) {
		t.Errorf("full: got %v", err)
	}
	a.release(7)
	if slot, err := a.take(); err != nil || slot != 7 {
		t.Errorf("after a release: got %d, %v", slot, err)
	}
	if got := []string{a.forwarder().String(), a.hostEnd(1).String(), a.containerEnd(1).String(), a.containerEnd(63).String()}; !slices.Equal(got,
		[]string{"10.1.2.1", "10.1.2.5", "10.1.2.6", "10.1.2.254"}) {
		t.Errorf("addresses: %v", got)
	}
}

// TestAcquireFailure uses up a small range: who waits hears why, and the pool goes on once a place is free.
func TestAcquireFailure(t *testing.T) {
	newWorld(t)
	n := startNetwork(t, func(c *Config) { c.CIDR, c.PoolSize = netip.MustParsePrefix("10.219.1.0/24"), 1 })
	var last *container.Endpoint
	for range n.addresses.count() - 1 {
		last = acquire(t, n, false)
	}
	if _, err := n.Acquire(t.Context(), "ta-test", false); !errors.Is(err, fault.Exhausted) {
		t.Fatalf("got %v", err)
	}
	if err := n.Release(last); err != nil {
		t.Fatal(err)
	}
	// A failure that was found before the release may be heard first.
	e, err := n.Acquire(t.Context(), "ta-test", false)
	if err != nil {
		e = acquire(t, n, false)
	}
	if e.Address != last.Address {
		t.Errorf("address %s, want %s", e.Address, last.Address)
	}
}

func TestAcquireBurst(t *testing.T) {
	newWorld(t)
	n := startNetwork(t, func(c *Config) { c.PoolSize = 4 })
	const count = 40
	addresses := make([]string, count)
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			e, err := n.Acquire(t.Context(), "ta-burst", false)
			if err != nil {
				t.Error(err)
				return
			}
			addresses[i] = e.Address
			if i%2 == 0 {
				if err := n.Release(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(addresses)
	if unique := slices.Compact(addresses); len(unique) != count {
		t.Errorf("%d different addresses of %d", len(unique), count)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("stop"))
	for range 10 { // a ready one may be given all the same
		if _, err := n.Acquire(ctx, "ta-test", false); err != nil {
			return
		}
	}
	t.Error("an ended context is never noticed")
}

func BenchmarkAcquire(b *testing.B) {
	cfg := testConfig(b.TempDir())
	cfg.PoolSize = DefaultPoolSize
	n, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, n.Close()); err != nil {
			b.Error(err)
		}
	}()
	// An endpoint made and taken, and then removed, which is what sustained load costs.
	b.Run("sustained", func(b *testing.B) {
		for b.Loop() {
			e, err := n.Acquire(ctx, "ta-bench", false)
			if err != nil {
				b.Fatal(err)
			}
			if err := n.Release(e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("make", func(b *testing.B) {
		var total time.Duration
		for b.Loop() {
			start := time.Now()
			e, err := n.makeOpen(n.host)
			total += time.Since(start)
			if err != nil {
				b.Fatal(err)
			}
			if err := n.discard(n.host, e); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(total.Microseconds())/float64(b.N), "us/made")
	})
}
