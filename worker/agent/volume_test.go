package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/voltree"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/volume"
	"github.com/skerry-dev/skerry/worker/volume/shelf"
)

// volumesWord makes the test program the process that serves volumes.
const volumesWord = "volumes"

// volumeRig is a rig whose containers can have volumes.
type volumeRig struct {
	*rig
	shelf   *shelf.Shelf
	volumes *volume.Host
	id      string // of a volume
	lost    chan []string
}

func newVolumeRig(t testing.TB) *volumeRig {
	t.Helper()
	v := &volumeRig{shelf: shelf.New(newMemorySource(t)), id: ident.New(ident.Volume), lost: make(chan []string, 1)}
	_, err := v.shelf.Change(t.Context(), v.id, nil)
	ok(t, err)
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	v.volumes = volume.NewHost(volume.HostConfig{
		Process: volume.Config{
			Dir: "/run/skerry/" + instance + "/volumes", CacheDir: dir, CacheBytes: 1 << 30, UpperDir: filepath.Join(dir, "upper"),
			DiskBytes: 1 << 30, Release: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Interval: time.Hour,
		},
		LogFile: log, Command: []string{"/proc/self/exe", volumesWord}, Store: v.shelf, Blobs: v.shelf,
		Lost: func(ids []string, _ error) { v.lost <- ids },
	})
	v.rig = newRigWith(t, nil, func(c *container.HostConfig) { c.Volumes = v.volumes })
	t.Cleanup(func() {
		ok(t, v.volumes.Close())
		if t.Failed() {
			text, _ := os.ReadFile(log)
			t.Logf("process:\n%s", text)
		}
	})
	return v
}

func (v *volumeRig) mounted(module string, edit func(m *container.VolumeMount)) container.Spec {
	s := v.spec(module)
	m := container.VolumeMount{VolumeID: v.id, Path: "/data"}
	if edit != nil {
		edit(&m)
	}
	s.Volumes = []container.VolumeMount{m}
	return s
}

// run runs a function once, to its container's end.
func (v *volumeRig) run(t *testing.T, spec container.Spec) (payload.Result, string) {
	t.Helper()
	l := v.start(t, spec)
	l.awaitReady(t)
	l.submit(0)
	o := l.awaitOutput(t)
	l.Stop(true)
	l.awaitExit(t)
	ok(t, v.host.Wait(t.Context()))
	text, _ := v.logs.text(l.id)
	return o.Result, text
}

// A container reads and writes a volume as it does a folder of its own; at its end all is in a version.
func TestVolume(t *testing.T) {
	v := newVolumeRig(t)
	result, text := v.run(t, v.mounted(`
import os, subprocess, mmap, fcntl, shutil
def f():
    os.chdir("/data")
    os.makedirs("a/b")
    open("a/b/small", "w").write("hello")
    with open("large", "wb") as f:
        for i in range(9):
            f.write(bytes([i]) * (1 << 20))
    os.link("a/b/small", "a/linked"); os.symlink("b/small", "a/soft")
    assert open("a/soft").read() == "hello" and os.stat("a/linked").st_nlink == 2
    os.rename("a/b", "c"); assert os.listdir("a") == ["linked", "soft"] or sorted(os.listdir("a")) == ["linked", "soft"]
    with open("large", "r+b") as f:
        m = mmap.mmap(f.fileno(), 0)
        assert m[5 << 20] == 5
        m[0:5] = b"magic"; m.flush(); m.close()
        fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_EX)
    assert open("large", "rb").read(5) == b"magic"
    os.chown("c/small", 12, 34); os.chmod("c/small", 0o4750); s = os.stat("c/small")
    assert (s.st_mode & 0o7777, s.st_uid, s.st_gid) == (0o4750, 12, 34), s
    os.utime("c/small", ns=(1, 1_600_000_000_123_456_789)); assert os.stat("c/small").st_mtime_ns == 1_600_000_000_123_456_789
    f = open("gone", "w+"); os.unlink("gone"); f.write("x" * 100); f.seek(0); assert f.read() == "x" * 100; f.close()
    os.mkfifo("fifo")
    try: os.setxattr("c/small", "user.x", b"1"); assert False
    except OSError as e: print("xattr", e)
    print(subprocess.run(["df", "-h", "/data"], capture_output=True, text=True).stdout)
    print(subprocess.run("cd /data && tar cf - . | tar tvf - | sort -k6", shell=True, capture_output=True, text=True).stdout)
    shutil.copytree("c", "d"); shutil.rmtree("d")
`, nil))
	t.Log(text)
	if result.Status != payload.Success {
		t.Fatalf("%+v", result.Error)
	}
	for path, want := range map[string]string{"c/small": "hello", "a/linked": "hello", "a/b": "-", "gone": "-", "d": "-"} {
		if got := v.shelf.Text(t, v.id, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	result, text = v.run(t, v.mounted(`
import os
def f():
    os.chdir("/data")
    data = open("large", "rb").read(); assert data[:5] == b"magic" and data[6 << 20] == 6 and len(data) == 9 << 20
    s = os.stat("c/small"); assert (s.st_mode & 0o7777, s.st_uid, s.st_gid, s.st_mtime_ns) == (0o4750, 12, 34, 1_600_000_000_123_456_789), s
    assert os.readlink("a/soft") == "b/small" and os.stat("a/linked").st_ino == os.stat("c/small").st_ino
    try: open("new", "w"); assert False
    except OSError as e: print(e)
    try: os.chmod("large", 0); assert False
    except OSError as e: print(e)
`, func(m *container.VolumeMount) { m.ReadOnly = true }))
	if t.Log(text); result.Status != payload.Success {
		t.Fatalf("read only: %+v", result.Error)
	}
	result, text = v.run(t, v.mounted(`
import os
def f():
    assert os.listdir("/data") == []
    open("/data/inside", "w").write("deep")
`, func(m *container.VolumeMount) { m.SubPath = "made/here" }))
	if t.Log(text); result.Status != payload.Success || v.shelf.Text(t, v.id, "made/here/inside") != "deep" {
		t.Fatalf("a part of it: %+v", result.Error)
	}
}

// What others commit is seen after a reload; one with open files is refused by who asks first.
func TestVolumeReload(t *testing.T) {
	v := newVolumeRig(t)
	l := v.start(t, v.mounted(`
import os
n = 0
def f():
    global n
    n += 1
    print("turn", n, {p: open("/data/" + p).read() for p in sorted(os.listdir("/data"))}, flush=True)
    open("/data/mine", "w").write("mine %d" % n)
`, nil))
	l.awaitReady(t)
	turn := func(i uint32, want string) {
		t.Helper()
		l.submit(i)
		if o := l.awaitOutput(t); o.Result.Status != payload.Success {
			t.Fatalf("%+v", o.Result.Error)
		}
		if text := v.logs.await(t, l.id, want); !strings.Contains(text, want) {
			t.Fatalf("log %q, want %q", text, want)
		}
	}
	put := func(path, text string) {
		t.Helper()
		ref, _, err := v.shelf.Add(t.Context(), []byte(text))
		ok(t, err)
		_, err = v.shelf.Change(t.Context(), v.id, []voltree.Change{{Verb: voltree.Put, Path: path, Entry: voltree.Entry{
			Type: voltree.File, Mode: 0o644, Size: ref.Size, Content: voltree.Content{Digest: ref.Digest},
		}}})
		ok(t, err)
	}
	turn(0, "turn 1 {}")
	put("other", "one")
	turn(1, "turn 2 {'mine': 'mine 1'}")
	_, err := v.volumes.Commit(t.Context(), l.id, v.id)
	ok(t, err)
	if got := v.shelf.Text(t, v.id, "mine"); got != "mine 2" {
		t.Errorf("committed: %q", got)
	}
	turn(2, "turn 3 {'mine': 'mine 2'}")
	_, err = v.volumes.Reload(t.Context(), l.id, v.id)
	ok(t, err)
	turn(3, "turn 4 {'mine': 'mine 3', 'other': 'one'}")
	put("other", "two")
	put("mine", "theirs")
	_, err = v.volumes.Reload(t.Context(), l.id, v.id)
	ok(t, err)
	turn(4, "turn 5 {'mine': 'mine 4', 'other': 'two'}") // the last writer's
	l.Stop(true)
	l.awaitExit(t)
	if got := v.shelf.Text(t, v.id, "mine"); got != "mine 5" {
		t.Errorf("at its end: %q", got)
	}
}

// A container ends, with a reason, when the process that serves its volumes dies; others get another one.
func TestVolumesProcessDies(t *testing.T) {
	v := newVolumeRig(t)
	spec := v.mounted("import os\ndef f(): open('/data/x', 'w').write('kept'); return 1", nil)
	l := v.start(t, spec)
	l.awaitReady(t)
	l.submit(0)
	l.awaitOutput(t)
	_, err := v.volumes.Commit(t.Context(), l.id, "")
	ok(t, err)
	v.kill(t)
	select {
	case ids := <-v.lost:
		if len(ids) != 1 || ids[0] != l.id {
			t.Errorf("lost: %v", ids)
		}
		l.Lose("its volumes are lost")
	case <-time.After(patience):
		t.Fatal("nobody heard of it")
	}
	if e := l.awaitExit(t); e.Reason != container.Lost || !strings.Contains(e.Message, "volumes are lost") {
		t.Errorf("exit %+v", e)
	}
	if got := v.shelf.Text(t, v.id, "x"); got != "kept" {
		t.Errorf("what was committed: %q", got)
	}
	result, text := v.run(t, v.mounted("def f(): print(open('/data/x').read())", nil))
	if result.Status != payload.Success || !strings.Contains(text, "kept") {
		t.Errorf("the next: %+v %q", result, text)
	}
}

// kill kills the process that serves volumes.
func (v *volumeRig) kill(t *testing.T) {
	t.Helper()
	pid, err := v.volumes.Process(t.Context())
	ok(t, err)
	p, err := os.FindProcess(pid)
	ok(t, err)
	ok(t, p.Kill())
}

// await waits until a container has written something.
func (b *logBook) await(t *testing.T, id, want string) string {
	t.Helper()
	late := time.After(patience)
	for {
		text, _ := b.text(id)
		if strings.Contains(text, want) {
			return text
		}
		select {
		case <-b.news:
		case <-late:
			return text
		}
	}
}

// A container's end waits until what it has written last is stored, though the store is away for a while.
func TestVolumeLastCommit(t *testing.T) {
	v := newVolumeRig(t)
	l := v.start(t, v.mounted("def f(): open('/data/x', 'w').write('last')", nil))
	l.awaitReady(t)
	l.submit(0)
	l.awaitOutput(t)
	v.shelf.Leave(true)
	l.Stop(true)
	select {
	case <-v.shelf.Missed:
	case e := <-l.exit:
		t.Fatalf("ended before anything was stored: %+v", e)
	}
	select {
	case e := <-l.exit:
		t.Errorf("ended though nothing is stored: %+v", e)
	default:
	}
	v.shelf.Leave(false)
	l.awaitExit(t)
	if got := v.shelf.Text(t, v.id, "x"); got != "last" {
		t.Errorf("%q", got)
	}
}
