package guest_test

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"github.com/skerry-dev/skerry/internal/gen/skerry/v1/skerryv1connect"
	"github.com/skerry-dev/skerry/internal/guestinit"
	"github.com/skerry-dev/skerry/worker/guest"
)

// asSandbox makes the test binary run as the skerry-init of a sandbox.
const asSandbox = "SKERRY_TEST_AS_SANDBOX"

// kernelsEnv tells it where the programs of interpreters are.
const kernelsEnv = "SKERRY_TEST_KERNELS"

// sandbox is an init that outlives its links, as an ordinary process.
type sandbox struct {
	*testing.T
	*guest.Client
	ln  net.Listener
	cmd *exec.Cmd
}

// startSandboxInit runs an init until the test ends, which has one link at a time.
func startSandboxInit(t *testing.T) *sandbox {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "guest.sock")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	s := &sandbox{T: t, ln: ln, cmd: exec.Command(os.Args[0])}
	kernels, err := filepath.Abs("../../sdk-python/src/skerry/_interpreter")
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Env = []string{asSandbox + "=" + socket, kernelsEnv + "=" + kernels, "GORACE=atexit_sleep_ms=0"}
	s.cmd.Stderr = &stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it would outlive a test that is killed
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = ln.Close()
		_ = s.Close()
		_ = s.cmd.Process.Kill()
		var exit *exec.ExitError
		if err := s.cmd.Wait(); !errors.As(err, &exit) || stderr.Len() > 0 {
			t.Errorf("init: %v; it wrote %q", err, stderr.String())
		}
	})
	s.accept()
	return s
}

// accept takes the next link.
func (s *sandbox) accept() {
	s.Helper()
	conn, err := s.ln.Accept()
	if err == nil {
		s.Client, err = guest.NewClient(conn)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// nudge has init dial again.
func (s *sandbox) nudge() {
	s.Helper()
	if err := s.cmd.Process.Signal(guestinit.Nudge); err != nil {
		s.Fatal(err)
	}
}

func (s *sandbox) processes() skerryv1connect.ProcessServiceClient {
	return skerryv1connect.NewProcessServiceClient(&http.Client{Transport: s.Forward()}, "http://gateway")
}

// configure gives it an environment and a directory.
func (s *sandbox) configure() {
	s.Helper()
	env := map[string]string{"PATH": os.Getenv("PATH"), "FROM": "sandbox", "KEPT": "sandbox"}
	if err := s.Configure(s.Context(), guest.Settings{ContainerID: "sb-test", Env: env, Workdir: s.TempDir()}); err != nil {
		s.Fatal(err)
	}
}

func refused(t *testing.T, err error, code connect.Code) {
	t.Helper()
	if connect.CodeOf(err) != code {
		t.Errorf("error is %v, want %v", err, code)
	}
}
