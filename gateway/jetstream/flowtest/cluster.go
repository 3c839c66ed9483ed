package flowtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/skerry-dev/skerry/internal/testserver"
)

// Size is how many servers a cluster has.
const Size = 3

// Accounts is how many there are, each with streams of its own: as many as tests may want one. A stream that is deleted and made again at once may be left
// without one of its servers, which still removes the files of the first.
const Accounts = 512

// ready is what a server logs when it takes connections.
const ready = "Server is ready"

// Cluster is three NATS servers with JetStream on this machine.
type Cluster struct {
	// URLs is where they are, for the first account.
	URLs string

	addresses []string
	program   string
	folder    string
	mu        sync.Mutex
	used      string // the folder of the test that has it
	account   int    // of that test
	servers   [Size]*testserver.Server
}

// Start starts a cluster with its files in a folder. Its servers don't outlive the process.
func Start(ctx context.Context, program, folder string) (*Cluster, error) {
	c := &Cluster{program: program, folder: folder}
	ports, err := freePorts(ctx, 2*Size)
	if err != nil {
		return nil, err
	}
	var routes []string
	for i := range Size {
		routes = append(routes, "nats://"+ports[Size+i])
	}
	c.addresses = ports[:Size]
	c.URLs = c.urls(0)
	var accounts strings.Builder
	for i := range Accounts {
		fmt.Fprintf(&accounts, "  %[1]s { jetstream: enabled, users: [ { user: %[1]s, password: %[1]s } ] }\n", account(i))
	}
	for i := range Size {
		settings := fmt.Sprintf(`server_name: n%d
listen: %q
jetstream { store_dir: %q, max_file_store: 1PB, sync_interval: 100ms }
cluster { name: skerry, listen: %q, routes: [%s] }
accounts {
%s}
`, i, ports[i], filepath.Join(folder, fmt.Sprint("n", i)), ports[Size+i], strings.Join(routes, ", "), accounts.String())
		if err := os.WriteFile(c.settings(i), []byte(settings), 0o600); err != nil {
			return nil, err
		}
		if err := c.Restart(ctx, i); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

func account(i int) string { return fmt.Sprint("a", i) }

// urls returns where the servers are for an account.
func (c *Cluster) urls(i int) string {
	urls := make([]string, Size)
	for n, address := range c.addresses {
		urls[n] = fmt.Sprintf("nats://%[1]s:%[1]s@%[2]s", account(i), address)
	}
	return strings.Join(urls, ",")
}

func (c *Cluster) settings(i int) string { return filepath.Join(c.folder, fmt.Sprintf("n%d.conf", i)) }

// Kill ends a server with SIGKILL; its files stay.
func (c *Cluster) Kill(i int) {
	if s := c.servers[i]; s != nil {
		c.servers[i] = nil
		s.Kill()
	}
}

// Restart starts a server that was killed.
func (c *Cluster) Restart(ctx context.Context, i int) (err error) {
	c.servers[i], err = testserver.Start(exec.CommandContext(context.WithoutCancel(ctx), c.program, "--config", c.settings(i)), ready)
	return err
}

// revive starts the servers that a test has killed and left so.
func (c *Cluster) revive(ctx context.Context) error {
	for i, s := range c.servers {
		if s == nil {
			if err := c.Restart(ctx, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends all servers.
func (c *Cluster) Close() {
	for i := range Size {
		c.Kill(i)
	}
}

// freePorts returns addresses that nobody listens at.
func freePorts(ctx context.Context, n int) (addresses []string, err error) {
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // only looked for
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
