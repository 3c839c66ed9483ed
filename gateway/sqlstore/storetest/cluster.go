package storetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/skerry-dev/skerry/internal/testserver"
)

// account is who runs PostgreSQL, which refuses root; Debian's package makes it.
const account = "postgres"

// ready is what PostgreSQL logs when it takes connections.
const ready = "database system is ready to accept connections"

// Cluster is a PostgreSQL in a folder of its own that only a unix socket there leads to.
type Cluster struct {
	// URL is its database; whoever runs the tests is let in without a password.
	URL string

	folder string
	server *testserver.Server
}

// Start makes a cluster and starts it. It does not outlive the process.
func Start(ctx context.Context) (*Cluster, error) {
	folder, err := os.MkdirTemp("", "skerry-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{folder: folder}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	programs, err := programFolder()
	if err != nil {
		return err
	}
	attributes, err := c.credential()
	if err != nil {
		return err
	}
	data := filepath.Join(c.folder, "data")
	init := exec.CommandContext(ctx, filepath.Join(programs, "initdb"), "--no-sync", "--auth=trust", "--username="+account, "--encoding=UTF8",
		"--locale=C.UTF-8", "--pgdata="+data)
	init.SysProcAttr, init.Dir = attributes, c.folder
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// A crash of the tests' machine need not be survived; many tests have connections at the same time.
	server := exec.CommandContext(ctx, filepath.Join(programs, "postgres"), "-D", data, "-k", c.folder,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=400")
	server.SysProcAttr, server.Dir = attributes, c.folder
	if c.server, err = testserver.Start(server, ready); err != nil {
		return err
	}
	q := url.Values{}
	q.Set("host", c.folder)
	q.Set("user", account)
	c.URL = "postgres:///postgres?" + q.Encode()
	return nil
}

// credential has the programs run as an unprivileged user, to whom it gives the folder, where this process is root.
func (c *Cluster) credential() (*syscall.SysProcAttr, error) {
	attributes := &syscall.SysProcAttr{}
	if os.Geteuid() != 0 {
		return attributes, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return nil, fmt.Errorf("%w; install Debian's package postgresql", err)
	}
	uid, uerr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gerr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uerr, gerr, os.Chown(c.folder, int(uid), int(gid))); err != nil {
		return nil, err
	}
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attributes, nil
}

// programFolder is where Debian puts the programs of the newest version there is.
func programFolder() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", errors.New("no /usr/lib/postgresql; install Debian's package postgresql")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// Close stops the cluster and removes its folder.
func (c *Cluster) Close() error {
	// SIGINT ends sessions; tests that were given up may have left some.
	return errors.Join(c.server.Stop(syscall.SIGINT), os.RemoveAll(c.folder))
}

// selected says whether a flag of go test has a value.
func selected(name string) bool {
	f := flag.Lookup(name)
	return f != nil && f.Value.String() != ""
}
