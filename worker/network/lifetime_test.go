package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/skerry-dev/skerry/internal/netdump"
	"github.com/skerry-dev/skerry/worker/network/policy"
)

// leftovers lists what there is of the instance on the host.
func leftovers(t *testing.T, runDir string) []string {
	t.Helper()
	var found []string
	links, err := netdump.Whole(netlink.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, linkPrefix(instance)) {
			found = append(found, "interface "+l.Attrs().Name)
		}
	}
	mounts, err := mountsUnder(runDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		found = append(found, "mount "+m)
	}
	if _, err := os.Stat(runDir); err == nil {
		found = append(found, "folder "+runDir)
	}
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if strings.HasPrefix(table.Name, tableName(instance)) {
			found = append(found, "table "+table.Name)
		}
	}
	return found
}

func TestCloseLeavesNothing(t *testing.T) {
	newWorld(t)
	cfg := testConfig(t.TempDir())
	cfg.BuildBridge, cfg.BuildSubnet = buildBridge, buildSubnet
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	kept, released := acquire(t, n, false), acquire(t, n, false)
	acquire(t, n, true)
	if err := errors.Join(n.Release(released), n.Release(released)); err != nil {
		t.Fatal(err)
	}
	if _, err := netlink.LinkByName(released.Interface); err == nil {
		t.Errorf("interface %s is there after its release", released.Interface)
	}
	if _, err := os.Stat(released.NetnsPath); err == nil {
		t.Errorf("namespace %s is there after its release", released.NetnsPath)
	}
	if len(leftovers(t, cfg.RunDir)) == 0 {
		t.Error("a running network is not found: the test looks in the wrong place")
	}
	cancel()
	if err := errors.Join(<-ended, n.Close(), n.Close(), n.Release(kept)); err != nil {
		t.Fatal(err)
	}
	if found := leftovers(t, cfg.RunDir); len(found) > 0 {
		t.Errorf("left over: %v", found)
	}
	if _, err := n.Acquire(t.Context(), "ta-late", false); err == nil {
		t.Error("a closed network gives endpoints")
	}
}

// TestReap kills a process with a running network and starts another of the same instance.
func TestReap(t *testing.T) {
	w := newWorld(t)
	serveGreeting(t, w.path, "0.0.0.0:"+port, "world")
	dir := t.TempDir()
	_, kill := startCrash(t, dir)
	kill()
	cfg := testConfig(dir)
	before := leftovers(t, cfg.RunDir)
	if len(before) < 5 {
		t.Fatalf("the killed process left only %v", before)
	}
	cfg.CIDR = newPicked(t, cfg) // leftovers don't stand in the way of picking
	n := startNetwork(t, func(c *Config) { *c = cfg })
	e := acquire(t, n, false)
	wantReached(t, e, public+":"+port, "world")
}

func newPicked(t *testing.T, cfg Config) netip.Prefix {
	t.Helper()
	cfg.CIDR = netip.Prefix{}
	p, held, err := pickCIDR(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

// runToBeKilled is the process that TestReap and TestAdopt kill. It prints the endpoints that it has.
func runToBeKilled() {
	n, err := New(testConfig(os.Getenv(crashEnv)))
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go func() {
			kept, err := acquireAll(ctx, n)
			if err == nil {
				err = json.NewEncoder(os.Stdout).Encode(kept)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}()
		err = n.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
}

// policies are those of the endpoints that runToBeKilled acquires.
var policies = map[string]policy.Policy{
	"open": {}, "listed": {CIDRs: []netip.Prefix{netip.MustParsePrefix(public + "/32")}}, "made blocked": {Block: true}, "not kept": {},
	"named":         {Domains: []string{"name.example"}},
	"blocked later": {CIDRs: []netip.Prefix{netip.MustParsePrefix(public + "/32")}},
}

func acquireAll(ctx context.Context, n *Network) (map[string]Kept, error) {
	all := map[string]Kept{}
	for name, p := range policies {
		e, err := n.AcquireWith(ctx, name, p)
		if err != nil {
			return nil, err
		}
		if name == "blocked later" {
			p = policy.Policy{Block: true}
			if err := n.SetPolicy(e, p); err != nil {
				return nil, err
			}
		}
		all[name] = Kept{Endpoint: *e, ContainerID: name, Policy: p}
	}
	return all, nil
}

// startCrash runs a process with a network and returns its endpoints and what kills it.
func startCrash(t *testing.T, dir string) (all map[string]Kept, kill func()) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // killed, as it should
	})
	t.Cleanup(kill)
	if err := json.NewDecoder(out).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all, kill
}
