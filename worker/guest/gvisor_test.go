package guest_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/guest"
	"github.com/skerry-dev/skerry/worker/gvisor"
)

// instance names the test's things on the host; no daemon has it, for theirs are hex.
const instance = "guestt"

// startSandbox boots a sandbox without a network whose PID 1 is this checkout's skerry-init.
func startSandbox(t *testing.T) (*guest.Client, container.Sandbox) {
	t.Helper()
	return bootSandbox(t, 64)
}

// bootSandbox boots one with so large a disk, and gives init these arguments.
func bootSandbox(t *testing.T, diskMiB uint32, args ...string) (*guest.Client, container.Sandbox) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"bundle", "disk", "run", "runtime/run", "runtime/mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "runtime", "skerry-init"), "../../cmd/skerry-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build skerry-init: %v\n%s", err, out)
	}
	if err := os.CopyFS(filepath.Join(dir, "runtime", "kernels"), os.DirFS("../../sdk-python/src/skerry/_interpreter")); err != nil {
		t.Fatal(err)
	}
	groups, err := cgroup.Open("skerry_" + instance)
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := gvisor.New(gvisor.Config{Runsc: testbase.Tool(t, "runsc"), StateDir: "/run/skerry/" + instance, Cgroups: groups})
	if err != nil {
		t.Fatal(err)
	}
	if err := runtime.Reap(t.Context(), nil); err != nil { // of a test that was killed
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "run", filepath.Base(guestinit.DefaultSocket)))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	box, err := runtime.Start(t.Context(), container.SandboxParams{
		ID: "ta-guest", Dir: filepath.Join(dir, "bundle"), Image: testbase.Erofs(t), DiskDir: filepath.Join(dir, "disk"), DiskMiB: diskMiB,
		Hostname: "guest", Argv: append([]string{"/__skerry/skerry-init"}, args...), MemoryLimitMiB: 512,
		Binds: []container.Bind{
			{Source: filepath.Join(dir, "runtime"), Target: "/__skerry"},
			{Source: filepath.Join(dir, "run"), Target: "/__skerry/run", Writable: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
		defer done()
		for _, err := range []error{box.Delete(ctx), groups.Reap(ctx, nil), runtime.Close(), os.RemoveAll("/run/skerry/" + instance)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c, box
}

// TestSandbox: init as PID 1 of a real sandbox.
func TestSandbox(t *testing.T) {
	c, box := startSandbox(t)
	env := map[string]string{"PATH": "/usr/bin:/bin"}
	sh := func(id, script string) guest.Process {
		return guest.Process{ID: id, Argv: []string{"sh", "-c", script}, Env: env}
	}

	// Orphans become init's children and are reaped: none is left as a zombie.
	start(t, c, sh("orphan", "(setsid sleep 0 &) ; exit 3"))
	if st := wait(t, c, "orphan"); st != (guest.Status{ExitCode: 3}) {
		t.Errorf("status %+v", st)
	}
	start(t, c, sh("p", `cat /proc/1/comm; tr '\0' ' ' </proc/1/environ; sleep 1000 & cat /proc/[0-9]*/stat | grep -c ') Z'; kill -USR1 $$`))
	if st := wait(t, c, "p"); st.Signal != 10 {
		t.Errorf("status %+v", st)
	}
	// Init's environment is its own, for it may do more than who asks.
	if got := string(output(t, c, guest.Offsets{}).Stdout); got != "skerry-init\n0\n" {
		t.Errorf("output %q", got)
	}

	// What only init may do, its children may not.
	start(t, c, sh("caps", `for p in 1 $$; do sed -n 's/Cap\(Inh\|Eff\|Prm\):.*\(.\{8\}\)$/\2/p' /proc/$p/status; done | tr '\n' ' '`))
	wait(t, c, "caps")
	caps := ""
	if err := c.ReadOutput(t.Context(), "caps", guest.Offsets{}, func(o guest.Output) error { caps += string(o.Stdout); return nil }); err != nil {
		t.Fatal(err)
	}
	if want := "00000000 802404fb 802404fb 00000000 800404fb 800404fb "; caps != want {
		t.Errorf("capabilities %q, want %q", caps, want)
	}

	tty := sh("tty", "stty size; read x; echo got $x; exit 4")
	tty.Terminal = &guest.Terminal{Rows: 40, Cols: 90}
	start(t, c, tty)
	if err := c.WriteInput(t.Context(), "tty", []byte("typed\n"), false); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, c, "tty"); st != (guest.Status{ExitCode: 4}) {
		t.Errorf("status %+v", st)
	}
	var said string
	err := c.ReadOutput(t.Context(), "tty", guest.Offsets{}, func(o guest.Output) error { said += string(o.Stdout); return nil })
	if err != nil || !strings.Contains(said, "40 90") || !strings.Contains(said, "got typed") {
		t.Errorf("terminal says %q, %v", said, err)
	}

	// The container ends with the link.
	start(t, c, sh("stays", "exec sleep 1000"))
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	<-box.Done()
	if _, err := c.WaitProcess(t.Context(), "stays"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("wait after the end: %v", err)
	}
}
