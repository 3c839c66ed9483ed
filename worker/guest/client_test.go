package guest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/guestinit"
	"github.com/skerry-dev/skerry/worker/guest"
)

// asInit makes the test binary run as skerry-init.
const asInit = "SKERRY_TEST_AS_INIT"

func TestMain(m *testing.M) {
	if socket := os.Getenv(asInit); socket != "" {
		os.Exit(guestinit.Main([]string{"-socket", socket}, os.Stderr))
	}
	if socket := os.Getenv(asSandbox); socket != "" {
		os.Exit(guestinit.Main([]string{"-socket", socket, "-outlive", "-output", filepath.Dir(socket), "-kernels", os.Getenv(kernelsEnv)}, os.Stderr))
	}
	os.Exit(m.Run())
}

// accept listens on a socket, lets start run an init that dials it, and returns its client.
func accept(t *testing.T, socket string, start func()) *guest.Client {
	t.Helper()
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	start()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := guest.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// startInit runs an init as an ordinary process until the test ends.
func startInit(t *testing.T) (*guest.Client, *exec.Cmd) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "guest.sock")
	var stderr bytes.Buffer
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{asInit + "=" + socket, "GORACE=atexit_sleep_ms=0"}
	cmd.Stderr = &stderr
	c := accept(t, socket, func() {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		_ = c.Close()
		if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("init: %v; it wrote %q", err, stderr.String())
		}
	})
	return c, cmd
}

func shell(id, script string) guest.Process {
	return guest.Process{ID: id, Argv: []string{"sh", "-c", script}, Env: map[string]string{"PATH": "/usr/bin:/bin", "GREETING": "hello"}}
}

func start(t *testing.T, c *guest.Client, p guest.Process) int {
	t.Helper()
	pid, err := c.StartProcess(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func wait(t *testing.T, c *guest.Client, id string) guest.Status {
	t.Helper()
	st, err := c.WaitProcess(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// output reads both streams of process p to their ends.
func output(t *testing.T, c *guest.Client, from guest.Offsets) (all guest.Output) {
	t.Helper()
	err := c.ReadOutput(t.Context(), "p", from, func(o guest.Output) error {
		all.Stdout, all.Stderr = append(all.Stdout, o.Stdout...), append(all.Stderr, o.Stderr...)
		all.StdoutDropped += o.StdoutDropped
		all.StderrDropped += o.StderrDropped
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestProcess(t *testing.T) {
	c, _ := startInit(t)
	dir := filepath.Join(t.TempDir(), "made", "for it")
	p := shell("p", "echo $GREETING; pwd; echo oops >&2; exit 7")
	p.Workdir, p.MakeWorkdir = dir, true
	start(t, c, p)
	if st := wait(t, c, "p"); st != (guest.Status{ExitCode: 7}) {
		t.Errorf("status is %+v", st)
	}
	o := output(t, c, guest.Offsets{})
	if want := "hello\n" + dir + "\n"; string(o.Stdout) != want || string(o.Stderr) != "oops\n" {
		t.Errorf("output is %q, %q", o.Stdout, o.Stderr)
	}
	if o = output(t, c, guest.Offsets{Stdout: 6, Stderr: 5}); string(o.Stdout) != dir+"\n" || len(o.Stderr) > 0 {
		t.Errorf("output from an offset is %q, %q", o.Stdout, o.Stderr)
	}
	if err := c.SignalProcess(t.Context(), "p", syscall.SIGTERM, true); err != nil {
		t.Errorf("signal after the end: %v", err)
	}
	if err := c.WriteInput(t.Context(), "p", []byte("x"), false); !errors.Is(err, fault.Precondition) {
		t.Errorf("write after the end: %v", err)
	}
}

func TestStartRefused(t *testing.T) {
	c, _ := startInit(t)
	start(t, c, shell("taken", "exit 0"))
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := func(p guest.Process, d string) guest.Process { p.Workdir = d; return p }
	for name, x := range map[string]struct {
		p    guest.Process
		kind error
	}{
		"no id":          {shell("", "exit 0"), fault.Invalid},
		"no program":     {guest.Process{ID: "a"}, fault.Invalid},
		"taken":          {shell("taken", "exit 0"), fault.Exists},
		"no such":        {guest.Process{ID: "b", Argv: []string{"no-such-program"}}, fault.NotFound},
		"no such path":   {guest.Process{ID: "c", Argv: []string{"/no/such/program"}}, fault.NotFound},
		"not executable": {guest.Process{ID: "d", Argv: []string{plain}}, fault.Invalid},
		"no workdir":     {dir(shell("e", "exit 0"), "/no/such"), fault.NotFound},
		"bad terminal":   {guest.Process{ID: "f", Argv: []string{"true"}, Terminal: &guest.Terminal{}}, fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.StartProcess(t.Context(), x.p); !errors.Is(err, x.kind) {
				t.Errorf("error is %v, want %v", err, x.kind)
			}
		})
	}
	if _, err := c.WaitProcess(t.Context(), "unknown"); !errors.Is(err, fault.NotFound) {
		t.Errorf("wait for an unknown process: %v", err)
	}
	if err := c.ResizeTerminal(t.Context(), "taken", guest.Terminal{Rows: 1, Cols: 1}); !errors.Is(err, fault.Precondition) {
		t.Errorf("resize without a terminal: %v", err)
	}
}

func TestOutputBeyondTheRing(t *testing.T) {
	c, _ := startInit(t)
	const n = 3_000_000
	start(t, c, shell("p", fmt.Sprintf("head -c %d /dev/zero; printf end", n)))
	wait(t, c, "p")
	o := output(t, c, guest.Offsets{Stdout: 10})
	if got := 10 + o.StdoutDropped + uint64(len(o.Stdout)); got != n+3 || !bytes.HasSuffix(o.Stdout, []byte("end")) || len(o.Stdout) < 1<<20 {
		t.Errorf("%d bytes, %d dropped", len(o.Stdout), o.StdoutDropped)
	}
}

func TestFollowAndInput(t *testing.T) {
	c, _ := startInit(t)
	p := shell("p", "while read line; do echo got $line; done; echo over")
	p.Stdin = true
	start(t, c, p)
	want := []string{"got one\n", "got two\n", "over\n"}
	sent := 0
	send := func() {
		if sent++; sent <= 2 {
			if err := c.WriteInput(t.Context(), "p", []byte([]string{"one\n", "two\n"}[sent-1]), sent == 2); err != nil {
				t.Error(err)
			}
		}
	}
	send()
	var all string
	err := c.ReadOutput(t.Context(), "p", guest.Offsets{}, func(o guest.Output) error {
		all += string(o.Stdout)
		if sent == 1 && strings.Contains(all, want[0]) {
			send()
		}
		return nil
	})
	if err != nil || all != strings.Join(want, "") {
		t.Errorf("output is %q, %v", all, err)
	}
}

func TestInputGivenUp(t *testing.T) {
	c, _ := startInit(t)
	p := shell("p", "echo up; exec sleep 1000")
	p.Stdin = true
	start(t, c, p)
	ctx, cancel := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() { wrote <- c.WriteInput(ctx, "p", make([]byte, 4<<20), false) }()
	stop := errors.New("enough")
	if err := c.ReadOutput(t.Context(), "p", guest.Offsets{}, func(guest.Output) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("read: %v", err)
	}
	cancel()
	if err := <-wrote; !errors.Is(err, context.Canceled) {
		t.Errorf("write given up: %v", err)
	}
	go func() { wrote <- c.WriteInput(t.Context(), "p", make([]byte, 4<<20), false) }()
	if err := c.SignalProcess(t.Context(), "p", syscall.SIGKILL, false); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; !errors.Is(err, fault.Precondition) {
		t.Errorf("write to a killed process: %v", err)
	}
	if st := wait(t, c, "p"); st.Signal != syscall.SIGKILL {
		t.Errorf("status is %+v", st)
	}
}

func TestTerminal(t *testing.T) {
	c, _ := startInit(t)
	p := shell("p", `trap 'stty size; exit 3' WINCH; stty size; tty >/dev/null && echo a tty; while :; do read x; echo "<$x>"; done`)
	p.Terminal = &guest.Terminal{Rows: 30, Cols: 100}
	start(t, c, p)
	step := 0
	var all string
	err := c.ReadOutput(t.Context(), "p", guest.Offsets{}, func(o guest.Output) error {
		all += string(o.Stdout)
		switch {
		case step == 0 && strings.Contains(all, "a tty"):
			step = 1
			return c.WriteInput(t.Context(), "p", []byte("typed\n"), false)
		case step == 1 && strings.Contains(all, "<typed>"):
			step = 2
			err := c.ResizeTerminal(t.Context(), "p", guest.Terminal{Rows: 31, Cols: 101})
			// Shells differ in whether a trap waits for read; where it doesn't, the process may have ended by now.
			if werr := c.WriteInput(t.Context(), "p", []byte("\n"), false); !errors.Is(werr, fault.Precondition) {
				err = errors.Join(err, werr)
			}
			return err
		}
		return nil
	})
	if err != nil || !strings.Contains(all, "30 100") || !strings.Contains(all, "31 101") {
		t.Errorf("output is %q, %v", all, err)
	}
	if st := wait(t, c, "p"); st.ExitCode != 3 {
		t.Errorf("status is %+v", st)
	}
}

func TestTerminalEnd(t *testing.T) {
	c, _ := startInit(t)
	p := guest.Process{ID: "p", Argv: []string{"cat"}, Terminal: &guest.Terminal{Rows: 1, Cols: 1}}
	start(t, c, p)
	if err := c.WriteInput(t.Context(), "p", []byte("x\n"), true); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, c, "p"); st != (guest.Status{}) {
		t.Errorf("status is %+v", st)
	}
}

// TestLeftovers: a process that ends takes its group with it, and one that left the group neither holds up the report nor dies of a
// closed pipe.
func TestLeftovers(t *testing.T) {
	c, _ := startInit(t)
	dir := t.TempDir()
	fifos := map[string]*os.File{}
	for _, name := range []string{"up", "go", "end"} {
		path := filepath.Join(dir, name)
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fifos[name] = f
	}
	p := shell("p", `sleep 1000 & echo $!; setsid sh -c 'echo >up; read x <go; echo late; echo survived >end' & read x <up; echo done`)
	p.Workdir = dir
	start(t, c, p)
	if st := wait(t, c, "p"); st != (guest.Status{}) {
		t.Errorf("status is %+v", st)
	}
	lines := strings.Fields(string(output(t, c, guest.Offsets{}).Stdout))
	if len(lines) != 2 {
		t.Fatalf("output is %q", lines)
	}
	if _, err := fifos["go"].WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 100)
	if n, err := fifos["end"].Read(said); err != nil || string(said[:n]) != "survived\n" {
		t.Errorf("the daemon says %q, %v", said[:n], err)
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Errorf("the background process lives on: %d, %v", n, err)
	}
}

// TestManyExits: statuses are not lost or mixed up while orphans are reaped at the same time.
func TestManyExits(t *testing.T) {
	c, _ := startInit(t)
	errs := make(chan error)
	const n = 40
	for i := range n {
		go func() {
			id := strconv.Itoa(i)
			_, err := c.StartProcess(t.Context(), shell(id, fmt.Sprintf("(setsid true &); exit %d", i)))
			if err == nil {
				var st guest.Status
				if st, err = c.WaitProcess(t.Context(), id); err == nil && st.ExitCode != i {
					err = fmt.Errorf("process %d: status is %+v", i, st)
				}
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestEndedProcessesAreForgotten(t *testing.T) {
	c, _ := startInit(t)
	for i := range 260 {
		id := strconv.Itoa(i)
		start(t, c, guest.Process{ID: id, Argv: []string{"true"}})
		wait(t, c, id)
	}
	if _, err := c.WaitProcess(t.Context(), "0"); !errors.Is(err, fault.NotFound) {
		t.Errorf("the oldest: %v", err)
	}
	wait(t, c, "259")
}

func TestSignals(t *testing.T) {
	c, cmd := startInit(t)
	start(t, c, shell("p", `trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.01; done`))
	stop := errors.New("up")
	if err := c.ReadOutput(t.Context(), "p", guest.Offsets{}, func(guest.Output) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	// Init passes SIGTERM on and stays.
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if st := wait(t, c, "p"); st.ExitCode != 5 && st.Signal != syscall.SIGTERM {
		t.Errorf("status is %+v", st)
	}
	if err := c.SignalProcess(t.Context(), "p", 65, false); !errors.Is(err, fault.Invalid) {
		t.Errorf("signal 65: %v", err)
	}
}

func TestLinkEnd(t *testing.T) {
	c, _ := startInit(t)
	start(t, c, shell("p", "exec sleep 1000"))
	ended := make(chan error, 1)
	go func() { _, err := c.WaitProcess(t.Context(), "p"); ended <- err }()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, fault.Unavailable) {
		t.Errorf("wait over a closed link: %v", err)
	}
	<-c.Done() // startInit's cleanup waits for init, which waits until the process is reaped
}
