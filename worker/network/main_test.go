package network

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// inside marks the process that runs the tests; crash makes it bring up a network and wait to be killed.
const (
	insideEnv = "SKERRY_TEST_NETWORK_INSIDE"
	crashEnv  = "SKERRY_TEST_NETWORK_CRASH"
)

// TestMain runs the tests in network and mount namespaces of their own, so that "the host" of every test is one with no way to any real
// network, and so that all of it is gone when the process is.
func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) != "" {
		runToBeKilled()
		return
	}
	if os.Getenv(insideEnv) == "" {
		os.Exit(reexec())
	}
	// Mounts made here stay here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "private mounts:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := endWorld(); err != nil {
		fmt.Fprintln(os.Stderr, "remove the tests' world:", err)
		code = 1
	}
	os.Exit(code)
}

func reexec() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "the tests need root, to make namespaces:", err)
		return 1
	}
	return 0
}
