package gvisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gvisor"
)

// TestAdoption: another process of the instance finds what runs, also after its own socket has taken the old one's place.
func TestAdoption(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-kept")
	l := w.listen("sb-kept")
	if _, err := w.runtime.Launch(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	l.accept()
	l.eval("kept = os.getpid(), time.monotonic()")
	l.bye()
	if err := l.ln.Close(); err != nil {
		t.Fatal(err)
	}

	later := w.open()
	if version, err := later.Version(); err != nil || !strings.HasPrefix(version, "gvisor.dev/gvisor v") {
		t.Errorf("version %q, %v", version, err)
	}
	if err := later.Reap(t.Context(), map[string]bool{"sb-kept": true}); err != nil {
		t.Fatal(err)
	}
	box, err := later.Open("sb-kept", p.Dir)
	if err != nil {
		t.Fatal(err)
	}
	l = w.listen("sb-kept")
	if err := box.Nudge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.accept().eval("kept[0]"); got != "1" {
		t.Errorf("pid %s", got)
	}
	if err := box.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if err := box.Nudge(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("nudge after the end: %v", err)
	}
	for id, dir := range map[string]string{"sb-kept": p.Dir, "sb-never": w.params("sb-never").Dir} {
		if _, err := later.Open(id, dir); fault.KindOf(err) != fault.NotFound {
			t.Errorf("open %s: %v", id, err)
		}
	}
	// The file may name a process that has got the number since.
	if err := os.WriteFile(filepath.Join(p.Dir, "sandbox.pid"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := later.Open("sb-kept", p.Dir); fault.KindOf(err) != fault.NotFound {
		t.Errorf("open of another's process: %v", err)
	}
	if left, err := os.ReadDir("/run/skerry/" + instance); err != nil || len(left) > 1 {
		t.Errorf("state is left: %v, %v", left, err)
	}
}

// TestEmptySandbox: one that is booted without an image gets containers later, each with its own files and processes.
func TestEmptySandbox(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-empty")
	box, err := w.runtime.Boot(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	// One name begins with the other, which runsc's command line does not tell apart.
	var lines []*line
	for _, id := range []string{"sb-empty-a", "sb-empty-ab"} {
		p := w.params(id)
		p.Name = strings.TrimPrefix(id, "sb-empty-")
		l := w.listen(id)
		if _, err := box.Add(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, l.accept())
	}
	a, b := lines[0], lines[1]
	a.eval("open('/root/mine', 'w').write('x')")
	if got := b.eval("os.path.exists('/root/mine'), os.getpid(), os.uname().nodename"); got != "[false 1 host-of-sb-empty]" {
		t.Errorf("the second container says %s", got)
	}
	a.eval("s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'of-the-network'); s.listen()")
	b.eval("c = socket.socket(socket.AF_UNIX); c.connect(chr(0) + 'of-the-network'); c.send(b'hello')")
	if got := a.eval("s.accept()[0].recv(9).decode()"); got != "hello" {
		t.Errorf("over their network: %q", got)
	}
	if err := box.Container("sb-empty-a", "a").Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if got := b.eval("1 + 1"); got != "2" {
		t.Errorf("after the other's end: %s", got)
	}
	if err := box.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if err := box.Container("sb-empty-ab", "ab").Delete(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := box.Add(t.Context(), w.params("sb-empty-late")); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("add after the end: %v", err)
	}
	if left, err := os.ReadDir("/run/skerry/" + instance); err != nil || len(left) > 2 {
		t.Errorf("state is left: %v, %v", left, err)
	}
}

// TestInitOnly: PID 1 may name the host and use images that are mounted later; what it starts may not.
func TestInitOnly(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-init")
	l := w.listen("sb-init")
	box, err := w.runtime.Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l.accept()
	l.eval(`
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
head = struct.pack("IiI", 0x20080522, 0, 0)
def shed():
    sets = ctypes.create_string_buffer(24)
    if libc.syscall(125, head, sets): raise OSError(ctypes.get_errno())
    effective, permitted, _, *high = struct.unpack("6I", sets.raw)
    if libc.syscall(126, head, struct.pack("6I", effective, permitted, 0, *high)): raise OSError(ctypes.get_errno())
def mount(kind, target, options=None):
    if libc.mount(b"none", target, kind, 0, options): raise OSError(ctypes.get_errno())
`)
	l.eval("shed()")
	l.eval("socket.sethostname('claimed')")
	l.eval("[os.makedirs(d) for d in ('/mnt/lower', '/mnt/rw', '/mnt/fs')]")
	if err := box.Mount(t.Context(), testbase.Erofs(t), "/mnt/lower"); err != nil {
		t.Fatal(err)
	}
	if got := l.eval("subprocess.getoutput('cat /mnt/lower/etc/debian_version; touch /mnt/lower/x; hostname other; hostname; umount /mnt/lower')"); !strings.HasPrefix(got, "12.") ||
		!strings.Contains(got, "Read-only file system") || !strings.Contains(got, "must be root") || !strings.Contains(got, "\nclaimed\n") ||
		!strings.Contains(got, "must be superuser") {
		t.Errorf("a child says %q", got)
	}
	// A writable view: what is written is memory of the sandbox.
	l.eval("mount(b'tmpfs', b'/mnt/fs', b'size=1m'); [os.mkdir('/mnt/fs/' + d) for d in 'uw']")
	l.eval("mount(b'overlay', b'/mnt/rw', b'lowerdir=/mnt/lower,upperdir=/mnt/fs/u,workdir=/mnt/fs/w')")
	if got := l.eval("os.unlink('/mnt/rw/etc/debian_version'); open('/mnt/rw/etc/new', 'w').write('x')"); got != "<nil>" {
		t.Error(got)
	}
	if got := l.eval("subprocess.getoutput('ls /mnt/rw/etc/debian_version /mnt/rw/etc/new; dd if=/dev/zero of=/mnt/rw/big bs=1M count=2')"); !strings.Contains(got, "No such file") || !strings.Contains(got, "No space left") {
		t.Errorf("the writable view: %s", got)
	}
	if got := l.eval("libc.umount2(b'/mnt/rw', 0), libc.umount2(b'/mnt/lower', 0), os.listdir('/mnt/lower')"); got != "[0 0 []]" {
		t.Errorf("unmounted: %s", got)
	}
}

// TestLimit: a sandbox that was booted without limits gets them when it is claimed.
func TestLimit(t *testing.T) {
	w := newWorld(t)
	p := w.params("sb-limit")
	l := w.listen("sb-limit")
	box, err := w.runtime.Launch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	l.accept()
	if err := box.Limit(gvisor.Limits{CPUMilli: 500, CPULimitMilli: 1500, MemoryLimitMiB: 200}); err != nil {
		t.Fatal(err)
	}
	l.say("x = b'x' * (400 << 20)")
	<-box.Done()
	if used, err := box.UsedUp(); err != nil || used != container.OwnMemory {
		t.Errorf("used up %v, %v", used, err)
	}
	if err := box.Limit(gvisor.Limits{MemoryLimitMiB: 400}); fault.KindOf(err) != fault.Precondition {
		t.Errorf("another claim: %v", err)
	}
}
