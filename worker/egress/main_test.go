package egress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// insideEnv marks the process that runs the tests.
const insideEnv = "SKERRY_TEST_EGRESS_INSIDE"

// TestMain runs the tests in a network namespace of their own with nothing but loopback, where they can listen on ports 80 and 443.
func TestMain(m *testing.M) {
	if os.Getenv(insideEnv) == "" {
		os.Exit(reexec())
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "the tests need root, to make a namespace:", err)
		return 1
	}
	return 0
}

// Addresses of the tests, all of loopback.
var (
	guestAddr = netip.MustParseAddr("127.0.0.10") // the endpoint's
	otherAddr = netip.MustParseAddr("127.0.0.11") // another endpoint's
	proxyAddr = netip.MustParseAddr("127.0.0.20")
	hostAddr  = netip.MustParseAddr("127.0.0.30") // of api.test and others
	evilAddr  = netip.MustParseAddr("127.0.0.40") // of evil.test
	closeAddr = netip.MustParseAddr("127.0.0.66") // which Permit denies
)

// said is a connection whose other end has said all that it will.
type said struct {
	net.Conn
	io.Reader

	written int
	out     bytes.Buffer
}

func (s *said) Read(b []byte) (int, error) { return s.Reader.Read(b) }

func (s *said) Write(b []byte) (int, error) {
	s.written += len(b)
	return s.out.Write(b)
}

func (s *said) Close() error { return nil }

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
