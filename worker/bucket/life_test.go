package bucket

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/s3test"
	"github.com/skerry-dev/skerry/worker/container"
)

func TestWrongSettings(t *testing.T) {
	w := newWorld(t, "box")
	for name, c := range map[string]struct {
		change func(*container.BucketMount)
		kind   *fault.Kind
		says   string
	}{
		"bucket":     {func(b *container.BucketMount) { b.Bucket = "nowhere" }, fault.NotFound, "no such bucket"},
		"access key": {func(b *container.BucketMount) { b.AccessKey = "nobody" }, fault.Denied, "access key"},
		"secret key": {func(b *container.BucketMount) { b.SecretKey = "wrong" }, fault.Denied, "secret key"},
		"anonymous":  {func(b *container.BucketMount) { b.AccessKey, b.SecretKey = "", "" }, fault.Denied, "not open to everybody"},
	} {
		b := w.of("box")
		c.change(&b)
		_, err := w.store.Mount(t.Context(), b)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v with %q", name, err, c.kind, c.says)
		}
		if err != nil && (strings.Contains(err.Error(), s3test.SecretKey) || !strings.Contains(err.Error(), strconv.Quote(b.Bucket))) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServerThatIsAway(t *testing.T) {
	w := newWorld(t, "box")
	b := w.of("box")
	w.link.cut()
	if _, err := w.store.Mount(t.Context(), b); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v", err)
	}
}

// TestServerGoesAndComes has programs work while there is no server: errors, and no wait without an end.
func TestServerGoesAndComes(t *testing.T) {
	w := newWorld(t, "box")
	at := w.mount(w.of("box"))
	w.write(filepath.Join(at, "old"), "before")
	f, err := os.Create(filepath.Join(at, "new"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("kept"); err != nil {
		t.Error(err)
	}
	w.link.cut()
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Errorf("fsync: %v", err)
	}
	if err := os.WriteFile(filepath.Join(at, "other"), []byte("x"), 0o644); !errors.Is(err, syscall.EIO) {
		t.Errorf("write and close: %v", err)
	}
	w.link.join()
	if err := f.Sync(); err != nil {
		t.Errorf("fsync when it is there again: %v", err)
	}
	if got := w.object("box", "new"); got != "kept" {
		t.Errorf("object: %q", got)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	w.arrives("box", "other", "x") // though nobody has it open
	w.write(filepath.Join(at, "other"), "y")
	if got := w.object("box", "other"); got != "y" {
		t.Errorf("object: %q", got)
	}
	if got, err := os.ReadFile(filepath.Join(at, "old")); err != nil || string(got) != "before" {
		t.Errorf("read: %q, %v", got, err)
	}
}

func TestShared(t *testing.T) {
	w := newWorld(t, "box")
	one, two := w.mount(w.of("box")), w.mount(w.of("box"))
	if one != two {
		t.Error("the same is mounted twice")
	}
	other := w.of("box")
	other.SecretKey = "another"
	if _, err := w.store.Mount(t.Context(), other); err == nil {
		t.Error("a mount was shared with other credentials")
	}
}

// processOf is the process of the mount at a folder.
func (w *world) processOf(dir string) int {
	w.t.Helper()
	m := w.store.newMount(filepath.Base(filepath.Dir(dir)))
	r, err := m.find()
	if err != nil {
		w.t.Fatal(err)
	}
	m.process.Release()
	return r.Process
}

func TestProcessIsConfined(t *testing.T) {
	w := newWorld(t, "box")
	at := w.mount(w.of("box"))
	w.write(filepath.Join(at, "a"), "text")
	proc := "/proc/" + strconv.Itoa(w.processOf(at))
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in its status:\n%s", want, status)
		}
	}
	tasks, err := filepath.Glob(proc + "/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err == nil && (!strings.Contains(string(text), "NoNewPrivs:\t1") || strings.Contains(string(text), "Uid:\t0")) {
			t.Errorf("%s: %s", task, text)
		}
	}
	root, err := os.Readlink(proc + "/root")
	if err != nil || !strings.HasPrefix(root, w.dir) {
		t.Errorf("its root is %s, %v", root, err)
	}
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(proc + "/" + name)
		if err != nil || strings.Contains(string(text), s3test.SecretKey) {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	// Nor has the host's disk any of it.
	if err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(path, at) {
			return err
		}
		text, err := os.ReadFile(path)
		if strings.Contains(string(text), s3test.SecretKey) {
			t.Errorf("%s has the secret key", path)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestProcessIsKilled(t *testing.T) {
	w := newWorld(t, "box")
	m, err := w.store.Mount(t.Context(), w.of("box"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(m.Dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Kill(w.processOf(m.Dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.Lost
	if _, err := f.WriteString("x"); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.ECONNABORTED) {
		t.Errorf("write: %v", err)
	}
	if _, err := os.ReadDir(m.Dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("read: %v", err)
	}
	if err := m.Release(); err != nil {
		t.Error(err)
	}
	w.write(filepath.Join(w.mount(w.of("box")), "a"), "again") // it is not the dead one
}

// TestNextWorker has another store go on with a mount, and take down one that nobody wants.
func TestNextWorker(t *testing.T) {
	w := newWorld(t, "box", "other")
	kept, err := w.store.Mount(t.Context(), w.of("box"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Mount(t.Context(), w.of("other")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(kept.Dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	w.store.Close()
	select {
	case <-kept.Lost:
		t.Error("it is lost when its worker ends")
	default:
	}
	w.store = w.newStore()
	again, err := w.store.Adopt(t.Context(), kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.Reap(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(w.dir, "mounts")); err != nil || len(left) != 1 {
		t.Errorf("mounts: %v, %v", left, err)
	}
	_, err = f.WriteString("went on")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Error(err)
	}
	if got := w.object("box", "a"); got != "went on" {
		t.Errorf("object: %q", got)
	}
	if err := again.Release(); err != nil {
		t.Error(err)
	}
	if _, err := w.store.Adopt(t.Context(), kept.ID); !errors.Is(err, fault.NotFound) {
		t.Errorf("adoption of what is gone: %v", err)
	}
}

func TestNobodyWaits(t *testing.T) {
	w := newWorld(t, "box")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.store.Mount(ctx, w.of("box")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
