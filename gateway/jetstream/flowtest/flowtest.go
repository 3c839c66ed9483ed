// Package flowtest has tests of the flow run against the embedded server, and against a cluster of three that they start.
package flowtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	skerry "github.com/skerry-dev/skerry/gateway/jetstream"
	"github.com/skerry-dev/skerry/internal/testbase"
)

// cluster is what the tests of this process use; nil: they use the embedded server.
var cluster atomic.Pointer[Cluster]

// Main runs the tests of a package twice, first with the embedded server and then with a cluster, and returns the exit code. It is for a
// TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(flowtest.Main(m)) }
func Main(m *testing.M) int {
	if code := m.Run(); code != 0 {
		return code
	}
	for _, name := range []string{"test.list", "test.bench"} { // benchmarks compare what changes, not servers
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return 0
		}
	}
	folder, err := os.MkdirTemp("", "skerry-nats-")
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "NATS:", err)
		return 1
	}
	defer os.RemoveAll(folder) //nolint:errcheck // what is left is in the folder of temporary files
	program, err := testbase.Binary("nats-server")
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "NATS:", err)
		return 1
	}
	c, err := Start(context.Background(), program, folder)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "NATS:", err)
		return 1
	}
	defer c.Close()
	cluster.Store(c)
	return m.Run()
}

// Clustered returns the cluster that the tests use, or nil.
func Clustered() *Cluster { return cluster.Load() }

// Config is where a test's flow is, whose files would be in dir: under another name than before, an empty one. The test has one flow at a time.
func Config(t testing.TB, dir string) skerry.Config {
	t.Helper()
	c := cluster.Load()
	if c == nil {
		return Embedded(dir)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used != dir {
		if err := c.revive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := c.empty(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.account++; c.account == Accounts {
			t.Fatalf("all %d accounts of the cluster are used up", Accounts)
		}
		c.used = dir
	}
	return skerry.Config{Cluster: skerry.Cluster{URLs: c.urls(c.account)}}
}

// Embedded is a flow with the embedded server, whose files are in dir. It syncs them at the end alone: what tests lose is processes, not machines,
// and the server starts the timer of its syncing in a way that the race detector reports when it runs out early.
func Embedded(dir string) skerry.Config { return skerry.Config{Dir: dir, SyncInterval: time.Hour} }

// empty removes all streams of the account in use: servers need not go on with them.
func (c *Cluster) empty(ctx context.Context) error {
	nc, err := nats.Connect(c.urls(c.account), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	for range 20 { // a cluster that has just started has no leader yet; each request waits for one for a while
		if err = emptyOnce(ctx, js); err == nil {
			return nil
		}
	}
	return err
}

func emptyOnce(ctx context.Context, js jetstream.JetStream) error {
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	return names.Err()
}
