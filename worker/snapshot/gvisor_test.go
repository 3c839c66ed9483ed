package snapshot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/cgroup"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/gvisor"
	"github.com/skerry-dev/skerry/worker/snapshot"
)

// instance names the test's things on the host; no daemon has it, for theirs are hex.
const instance = "snapshott"

// world starts sandboxes from images in a store.
type world struct {
	*testing.T
	runtime *gvisor.Runtime
	blobs   *blobs
	store   *snapshot.Store
	dir     string
	files   map[string]string // of images, by digest
}

func newWorld(t *testing.T) *world {
	t.Helper()
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
	t.Cleanup(func() {
		ctx, done := context.WithTimeout(context.Background(), 20*time.Second)
		defer done()
		for _, err := range []error{runtime.Reap(ctx, nil), runtime.Close(), os.RemoveAll("/run/skerry/" + instance)} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	b := openBlobs(t)
	return &world{T: t, runtime: runtime, blobs: b, store: open(t, t.TempDir(), "v1", b), dir: t.TempDir(), files: map[string]string{}}
}

// file puts an image's file together.
func (w *world) file(image payload.Ref) string {
	w.Helper()
	if path := w.files[image.Digest]; path != "" {
		return path
	}
	m, err := cas.Load(w.Context(), w.blobs, image.Digest)
	if err != nil {
		w.Fatal(err)
	}
	f, err := os.Create(filepath.Join(w.dir, fmt.Sprintf("image%d", len(w.files))))
	if err != nil {
		w.Fatal(err)
	}
	if err := errors.Join(cas.Copy(w.Context(), w.blobs, m, f), f.Close()); err != nil {
		w.Fatal(err)
	}
	w.files[image.Digest] = f.Name()
	return f.Name()
}

// agent runs the program it is sent and says what came of it, or what went wrong.
const agent = `
import json, os, shutil, socket
s = socket.socket(socket.AF_UNIX); s.connect("/io/agent.sock"); f = s.makefile("rw")
for line in f:
    names = {**globals(), "out": None}
    try:
        exec(json.loads(line), names)
    except BaseException as e:
        names["out"] = repr(e)
    f.write(json.dumps(names["out"]) + "\n"); f.flush()
`

// start runs an image; what comes back runs Python in it and returns its variable out.
func (w *world) start(id string, image payload.Ref) (*gvisor.Sandbox, func(code string) any) {
	w.Helper()
	dir := filepath.Join(w.dir, id)
	for _, d := range []string{"bundle", "disk", "io"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			w.Fatal(err)
		}
	}
	ln, err := net.Listen("unix", filepath.Join(dir, "io", "agent.sock"))
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	box, err := w.runtime.Launch(w.Context(), container.SandboxParams{
		ID: id, Dir: filepath.Join(dir, "bundle"), Image: w.file(image), DiskDir: filepath.Join(dir, "disk"), DiskMiB: 256,
		Argv:  []string{"/usr/bin/python3", "-c", agent},
		Binds: []container.Bind{{Source: filepath.Join(dir, "io"), Target: "/io", Writable: true}},
	})
	if err != nil {
		w.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close() })
	in, out := json.NewDecoder(conn), json.NewEncoder(conn)
	return box, func(code string) any {
		w.Helper()
		var said any
		if err := errors.Join(out.Encode(code), in.Decode(&said)); err != nil {
			w.Fatal(err)
		}
		return said
	}
}

func (w *world) params(box *gvisor.Sandbox, image payload.Ref) snapshot.FilesParams {
	return snapshot.FilesParams{
		Image: image, File: w.file(image), Leave: []string{"/io"}, Need: 10 << 20,
		Save: func(ctx context.Context, dir string) (snapshot.Layer, error) { return box.SaveFiles(ctx, dir) },
	}
}

// TestFiles: what a sandbox has changed is what another one starts with, and again.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	base := testbase.Image(t, w.blobs)
	box, run := w.start("sb-first", base)
	if said := run(`
os.makedirs("/work/deep"); open("/work/deep/file", "w").write("x" * 3000000)
os.symlink("deep/file", "/work/link"); os.link("/work/deep/file", "/work/hard"); os.chown("/work/deep/file", 5, 70000); os.chmod("/work/deep/file", 0o2751)
os.utime("/work/deep/file", (1234567890, 1234567890))
f = open("/work/holes", "wb"); f.truncate(1 << 26); f.seek(50 << 20); f.write(b"in the middle"); f.close()
os.unlink("/etc/passwd"); shutil.rmtree("/etc/apt"); os.mkdir("/etc/apt"); open("/etc/apt/mine", "w").write("m")
open("/etc/hostname", "a").write("more"); os.rename("/etc/group", "/etc/other"); os.mkfifo("/work/fifo")
`); said != nil {
		t.Fatal(said)
	}
	stored := w.blobs.stored.Load()
	image, err := w.store.Files(t.Context(), w.params(box, base))
	if err != nil {
		t.Fatal(err)
	}
	if cost := w.blobs.stored.Load() - stored; cost > 20<<20 {
		t.Errorf("the snapshot of 3 MB costs %d bytes of an image of %d", cost, base.Size)
	}
	if w.blobs.claimed.Load() == 0 {
		t.Error("no chunk of the image below was claimed")
	}
	box, run = w.start("sb-second", image)
	got := run(`
s = os.stat("/work/deep/file")
f = open("/work/holes", "rb"); f.seek(50 << 20); middle = f.read(20)
out = [os.stat("/work/hard").st_ino == s.st_ino, oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime, s.st_nlink, open("/work/link").read() == "x" * 3000000,
  middle.decode().rstrip("\0"), os.stat("/work/holes").st_size, os.path.exists("/etc/passwd"), os.listdir("/etc/apt"), open("/etc/hostname").read()[-4:],
  os.path.exists("/etc/group"), "root" in open("/etc/other").read(), oct(os.stat("/work/fifo").st_mode), os.path.exists("/usr/bin/python3")]
`)
	want := []any{
		true, "0o102751", 5.0, 70000.0, 1234567890.0, 2.0, true, "in the middle", float64(1 << 26), false, []any{"mine"}, "more", false, true,
		"0o10644", true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the second sandbox (-want +got):\n%s", diff)
	}

	// A snapshot of what came from one, and of one folder.
	if said := run(`shutil.rmtree("/work/deep"); os.unlink("/work/holes"); open("/work/new", "w").write("n")`); said != nil {
		t.Fatal(said)
	}
	again, err := w.store.Files(t.Context(), w.params(box, image))
	if err != nil {
		t.Fatal(err)
	}
	if again.Size > image.Size-1<<25 {
		t.Errorf("%d bytes without the file of 64 MiB, %d with it", again.Size, image.Size)
	}
	p := w.params(box, image)
	p.Path = "/work"
	folder, err := w.store.Files(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	p.Path = "/io/below"
	if _, err := w.store.Files(t.Context(), p); fault.KindOf(err) != fault.Precondition {
		t.Errorf("a folder in a mount: %v", err)
	}
	p.Path = "/no/such"
	if _, err := w.store.Files(t.Context(), p); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no folder: %v", err)
	}
	box, run = w.start("sb-third", again)
	if diff := cmp.Diff([]any{"fifo", "hard", "link", "new"}, run(`out = sorted(os.listdir("/work"))`)); diff != "" {
		t.Errorf("the third sandbox (-want +got):\n%s", diff)
	}
	if said := run(`os.mkdir("/mnt/folder")`); said != nil {
		t.Fatal(said)
	}
	if err := box.Mount(t.Context(), w.file(folder), "/mnt/folder"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{[]any{"fifo", "hard", "link", "new"}, "n", 3000000.0}, run(`out = [sorted(os.listdir("/mnt/folder")), open("/mnt/folder/new").read(), len(open("/mnt/folder/hard").read())]`)); diff != "" {
		t.Errorf("the folder (-want +got):\n%s", diff)
	}
}
