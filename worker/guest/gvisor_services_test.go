package guest_test

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	skerryv1 "github.com/skerry-dev/skerry/internal/gen/skerry/v1"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/guest"
)

// bootServices boots a sandbox that is configured.
func bootServices(t *testing.T, diskMiB uint32) *sandbox {
	t.Helper()
	c, _ := bootSandbox(t, diskMiB, "-outlive", "-kernels", "/__skerry/kernels")
	s := &sandbox{T: t, Client: c}
	err := c.Configure(t.Context(), guest.Settings{
		ContainerID: "sb-test", Hostname: "given", Workdir: "/work", Hosts: "10.1.2.3 beside\n", Certificates: "-----BEGIN CERTIFICATE-----\nours\n",
		Env: map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// out is what a script writes.
func (s *sandbox) out(id, text string) string {
	s.Helper()
	r, err := s.run(script(id, text))
	if err != nil || r.exited == nil {
		s.Fatalf("%s: %+v, %v", text, r, err)
	}
	return string(r.stdout) + string(r.stderr)
}

// TestSandboxServices: what clients ask of a real sandbox.
func TestSandboxServices(t *testing.T) {
	s := bootServices(t, 512)
	want := "given\n/work\n10.1.2.3\nours\nno\n"
	got := s.out("place", `hostname; pwd; sed -n 's/ beside//p' /etc/hosts; sed -n '/^ours/p' "$SSL_CERT_FILE"; hostname mine 2>/dev/null || echo no`)
	if got != want {
		t.Errorf("the place is %q, want %q", got, want)
	}
	m := script("user", "id -u; touch /root/x 2>/dev/null || echo no")
	m.User = "nobody"
	if r, err := s.run(m); err != nil || string(r.stdout) != "65534\nno\n" {
		t.Errorf("as nobody: %q %q, %v", r.stdout, r.stderr, err)
	}
	t.Run("watch", func(t *testing.T) {
		s := &sandbox{T: t, Client: s.Client}
		s.out("dirs", "mkdir -p /watched/old/deep")
		s.checkWatch("/watched")
	})
	t.Run("python", func(t *testing.T) { (&sandbox{T: t, Client: s.Client}).checkPython() })
	t.Run("terminal", func(t *testing.T) { (&sandbox{T: t, Client: s.Client}).checkScreen() })
	t.Run("kept", func(t *testing.T) {
		s := &sandbox{T: t, Client: s.Client}
		s.detached(script("much", "head -c 20000000 /dev/zero; printf end"))
		if _, over, err := s.Await(t.Context(), "much", time.Minute); !over || err != nil {
			t.Fatalf("it has not ended: %v", err)
		}
		if r, err := s.follow("much", 0, 0); err != nil || len(r.stdout) != 20_000_003 || r.gaps != 0 {
			t.Errorf("%d bytes, %d left out: %v", len(r.stdout), r.gaps, err)
		}
	})
	res, err := s.processes().ListProcesses(t.Context(), connect.NewRequest(&skerryv1.ListProcessesRequest{All: true}))
	if err != nil || len(res.Msg.GetSystem()) < 2 || !strings.HasSuffix(res.Msg.GetSystem()[0].GetArgv()[0], "skerry-init") {
		t.Errorf("processes %v, %v", res, err)
	}
	if u, err := s.Usage(t.Context()); err != nil || u.DiskLimitBytes < 400<<20 || u.DiskLimitBytes > 512<<20 || u.DiskBytes < 10<<20 {
		t.Errorf("usage %+v, %v", u, err)
	}
}

// screen draws itself anew at each key and at each change of its size.
const screen = `
import curses
def main(w):
    key = "none"
    while True:
        rows, cols = w.getmaxyx()
        w.erase()
        w.addstr(rows - 1, 0, f"{rows}x{cols} {key}.")
        w.refresh()
        c = w.getch()
        if c == ord("q"):
            return
        key = "resized" if c == curses.KEY_RESIZE else "up" if c == curses.KEY_UP else str(c)
curses.wrapper(main)
`

// checkScreen opens a full-screen program, presses keys, resizes it and reads what it draws.
func (s *sandbox) checkScreen() {
	s.Helper()
	stream, err := s.processes().StartProcess(s.Context(), connect.NewRequest(&skerryv1.StartProcessRequest{
		ProcessId: "screen", Argv: []string{"python3", "-c", screen}, Pty: &skerryv1.TerminalSize{Rows: 24, Cols: 80},
	}))
	if err != nil {
		s.Fatal(err)
	}
	defer stream.Close()
	steps := []struct {
		seen string
		do   func() error
	}{
		{"24x80 none.", func() error { _, err := s.input("screen", 0, "a", false); return err }},
		{"97.", func() error { _, err := s.input("screen", 1, "\x1bOA", false); return err }},
		{"up.", func() error {
			_, err := s.processes().ResizeTerminal(s.Context(), connect.NewRequest(&skerryv1.ResizeTerminalRequest{
				ProcessId: "screen", Size: &skerryv1.TerminalSize{Rows: 30, Cols: 100},
			}))
			return err
		}},
		{"30x100 resized.", func() error { _, err := s.input("screen", 4, "q", false); return err }},
	}
	var r ran
	var drawn string
	for stream.Receive() {
		r.take(stream.Msg().GetEvent())
		drawn += string(stream.Msg().GetEvent().GetOutput().GetStdout())
		if len(steps) > 0 && strings.Contains(drawn, steps[0].seen) {
			if err := steps[0].do(); err != nil {
				s.Fatal(err)
			}
			steps, drawn = steps[1:], ""
		}
	}
	if stream.Err() != nil || len(steps) > 0 || r.exited.GetExitCode() != 0 {
		s.Errorf("%d steps are left, last drawn %q: %v, %v", len(steps), drawn, r.exited, stream.Err())
	}
}

// patterned makes bytes that are not all the same, and their digest.
func patterned(n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), n), sum), sum
}

// TestLargeThings pipes much into a process and moves a large file, and looks at init's memory.
func TestLargeThings(t *testing.T) {
	input, file := int64(40<<20), int64(20<<20)
	if testbase.Full() {
		input, file = 1<<30, 200<<20
	}
	s := bootServices(t, 1024)
	m := script("wc", "wc -c")
	m.Stdin = true
	s.detached(m)
	began := time.Now()
	data := strings.Repeat("x", 1<<20)
	for at := int64(0); at < input; at += int64(len(data)) {
		if _, err := s.input("wc", uint64(at), data, at+int64(len(data)) == input); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.follow("wc", 0, 0)
	if err != nil || strings.TrimSpace(string(r.stdout)) != fmt.Sprint(input) {
		t.Errorf("it counted %q, %v", r.stdout, err)
	}
	t.Logf("%d MiB of input at %.0f MB/s", input>>20, float64(input)/1e6/time.Since(began).Seconds())

	from, want := patterned(file)
	began = time.Now()
	if _, err := s.write(&skerryv1.WriteFileStart{Path: "/large"}, from); err != nil {
		t.Fatal(err)
	}
	t.Logf("written at %.0f MB/s", float64(file)/1e6/time.Since(began).Seconds())
	began = time.Now()
	got := sha256.New()
	if err := s.read(&skerryv1.ReadFileRequest{Path: "/large"}, func(p []byte) { got.Write(p) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("read at %.0f MB/s", float64(file)/1e6/time.Since(began).Seconds())
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Error("other bytes came back")
	}
	rss := 0
	if _, err := fmt.Sscanf(s.out("rss", "grep VmRSS /proc/1/status"), "VmRSS: %d kB", &rss); err != nil || rss > 128<<10 {
		t.Errorf("init takes %d kB, %v", rss, err)
	}
	t.Logf("init takes %d MiB", rss>>10)
}

// TestFullDisk fills the disk: what fails says so and leaves nothing, and output is kept in memory.
func TestFullDisk(t *testing.T) {
	s := bootServices(t, 64)
	from, _ := patterned(100 << 20)
	_, err := s.write(&skerryv1.WriteFileStart{Path: "/work/large"}, from)
	faulty(t, err, connect.CodeResourceExhausted, skerryv1.FileFaultKind_FILE_FAULT_KIND_DISK_FULL)
	if left := s.out("left", "ls -A /work"); left != "" {
		t.Errorf("left: %q", left)
	}
	s.out("fill", "cat /dev/zero >/fill 2>/dev/null")
	s.detached(script("much", "head -c 10000000 /dev/zero; printf end"))
	if _, over, err := s.Await(t.Context(), "much", time.Minute); !over || err != nil {
		t.Fatalf("it has not ended: %v", err)
	}
	if r, err := s.follow("much", 0, 0); err != nil || len(r.stdout) < 1<<20 || r.at[0] != 10_000_003 || !strings.HasSuffix(string(r.stdout[len(r.stdout)-3:]), "end") {
		t.Errorf("%d bytes, %d left out: %v", len(r.stdout), r.gaps, err)
	}
}

// TestExecTimes logs the time from the request for /bin/true to its end, one after the other and many at once.
func TestExecTimes(t *testing.T) {
	s := bootServices(t, 64)
	n, atOnce := 20, 20
	if testbase.Full() {
		n, atOnce = 200, 100
	}
	exec := func(id string) time.Duration {
		began := time.Now()
		r, err := s.run(&skerryv1.StartProcessRequest{ProcessId: id, Argv: []string{"/bin/true"}})
		if err != nil || r.exited.GetExitCode() != 0 || r.exited == nil {
			t.Errorf("%s: %+v, %v", id, r, err)
		}
		return time.Since(began)
	}
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = exec(fmt.Sprint("one-", i))
	}
	t.Logf("one after the other: %v", spread(all))
	all = make([]time.Duration, atOnce)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = exec(fmt.Sprint("many-", i)) })
	}
	wg.Wait()
	t.Logf("%d at once: %v", atOnce, spread(all))
}

// spread is the shortest, the median and the longest.
func spread(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("%s, p50 %s, p99 %s", all[0], all[len(all)/2], all[len(all)*99/100])
}
