package volume_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
	"github.com/skerry-dev/skerry/worker/volume"
	"github.com/skerry-dev/skerry/worker/volume/shelf"
)

// volumesWord makes the test program the process that serves volumes.
const volumesWord = "volumes"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == volumesWord {
		if err := volume.Main(context.Background(), os.Args[2], "test", os.Stdout); err != nil {
			panic(err) // it is in the log
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// rig is a worker's side over a shelf.
type rig struct {
	*volume.Host
	shelf *shelf.Shelf
	id    string
	cfg   volume.HostConfig
	log   string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{shelf: shelf.New(&shelf.Memory{}), id: ident.New(ident.Volume), log: filepath.Join(dir, "log")}
	if _, err := r.shelf.Change(t.Context(), r.id, nil); err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp("/run", "skerry-volumes-test-") // short, for its socket
	if err != nil {
		t.Fatal(err)
	}
	r.cfg = volume.HostConfig{
		Process: volume.Config{
			Dir: run, CacheDir: dir, CacheBytes: 1 << 30, UpperDir: filepath.Join(dir, "upper"), DiskBytes: 1 << 30, Release: "test",
			Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Interval: time.Hour, Linger: 100 * time.Millisecond,
		},
		LogFile: r.log, Command: []string{"/proc/self/exe", volumesWord}, Store: r.shelf, Blobs: r.shelf,
	}
	r.Host = volume.NewHost(r.cfg)
	t.Cleanup(func() {
		if err := errors.Join(r.Reap(context.Background()), r.Close(), os.RemoveAll(run)); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			text, _ := os.ReadFile(r.log)
			t.Logf("process:\n%s", text)
		}
	})
	return r
}

func (r *rig) mount(t *testing.T, id string) string {
	t.Helper()
	binds, err := r.Mount(t.Context(), id, []container.VolumeMount{{VolumeID: r.id, Path: "/data"}})
	if err != nil {
		t.Fatal(err)
	}
	return binds[0].Source
}

func (r *rig) kill(t *testing.T) {
	t.Helper()
	pid, err := r.Process(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// writer is a container that writes files, each with its number in all of it, so that one that is torn is seen.
type writer struct {
	rig  *rig
	name string
	rng  *rand.Rand

	next     int
	written  map[string]int // by path
	promised map[string]int // what was committed at the least
}

// files of a writer, of which the one with 2 is large, and one of all writers.
const files = 3

func (w *writer) content(n int, large bool) []byte {
	line := fmt.Sprintf("%s %09d\n", w.name, n)
	if large {
		return []byte(strings.Repeat(line, (5<<20)/len(line)))
	}
	return []byte(strings.Repeat(line, 1+n%50))
}

// life is that of one container: it writes and commits until it ends, or the process does.
func (w *writer) life(t *testing.T, turns int) {
	id := ident.New(ident.Container)
	binds, err := w.rig.Mount(t.Context(), id, []container.VolumeMount{{VolumeID: w.rig.id, Path: "/data"}})
	if err != nil {
		return // the process died
	}
	dir := binds[0].Source
	for range turns {
		path := fmt.Sprintf("%s/f%d", w.name, w.rng.IntN(files))
		switch w.rng.IntN(8) {
		case 0:
			path = "all"
		case 1:
			if w.commit(t, func() error { _, err := w.rig.Commit(t.Context(), id, w.rig.id); return err }) != nil {
				return
			}
			continue
		case 2:
			if w.commit(t, func() error { _, err := w.rig.Reload(t.Context(), id, w.rig.id); return err }) != nil {
				return
			}
			continue
		}
		w.next++
		_ = os.Mkdir(filepath.Join(dir, w.name), 0o700) // it is there already
		tmp := filepath.Join(dir, w.name, "tmp")
		if os.WriteFile(tmp, w.content(w.next, strings.HasSuffix(path, "f2")), 0o600) != nil || os.Rename(tmp, filepath.Join(dir, path)) != nil {
			return // the process died
		}
		w.written[path] = w.next
	}
	_ = w.commit(t, func() error { return w.rig.End(t.Context(), id) })
}

// commit notes what a commit that has succeeded promises.
func (w *writer) commit(t *testing.T, do func() error) error {
	was := map[string]int{}
	for path, n := range w.written {
		was[path] = n
	}
	err := do()
	if err == nil {
		w.promised = was
	} else if fault.KindOf(err) != fault.Unavailable && fault.KindOf(err) != fault.NotFound {
		t.Errorf("commit: %v", err)
	}
	return err
}

// Many containers write and commit while the process that serves their volumes is killed again and again: what was committed is there, no
// file is torn.
func TestModel(t *testing.T) {
	rounds, turns, writers := 4, 25, 3
	if testbase.Full() {
		rounds, turns, writers = 20, 25, 6
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := newRig(t)
	all := make([]*writer, writers)
	for i := range all {
		all[i] = &writer{
			rig: r, name: fmt.Sprintf("w%d", i), rng: rand.New(rand.NewPCG(seed, uint64(i))), written: map[string]int{}, promised: map[string]int{},
		}
	}
	rng := rand.New(rand.NewPCG(seed, 1000))
	for round := range rounds {
		r.shelf.Step = nil
		if round%2 == 1 {
			left := int64(1 + rng.IntN(20*writers))
			var steps atomic.Int64
			r.shelf.Step = func() {
				if steps.Add(1) == left {
					r.kill(t)
				}
			}
		}
		var running sync.WaitGroup
		for _, w := range all {
			running.Go(func() { w.life(t, turns) })
		}
		running.Wait()
		for _, w := range all {
			w.check(t)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
}

// check compares the newest version with what was promised.
func (w *writer) check(t *testing.T) {
	t.Helper()
	for i := range files {
		path := fmt.Sprintf("%s/f%d", w.name, i)
		least := w.promised[path]
		got := w.rig.shelf.Text(t, w.rig.id, path)
		if got == "-" {
			if least > 0 {
				t.Errorf("%s: is gone, %d was committed", path, least)
			}
			continue
		}
		var n int
		if _, err := fmt.Sscanf(got, w.name+" %d\n", &n); err != nil || got != string(w.content(n, i == 2)) {
			t.Errorf("%s: torn: %.50q", path, got)
		}
		if n < least || n > w.next {
			t.Errorf("%s: is %d, %d was committed", path, n, least)
		}
		w.written[path] = n
	}
	delete(w.written, "all")
	if got := w.rig.shelf.Text(t, w.rig.id, "all"); got != "-" {
		var name string
		var n int
		if _, err := fmt.Sscanf(got, "%s %d\n", &name, &n); err != nil || got != string((&writer{name: name}).content(n, false)) {
			t.Errorf("the file of all: torn: %.50q", got)
		}
	}
}

// What is left of a process that was killed is cleared away, and settings are refused that make no sense.
func TestLeftovers(t *testing.T) {
	r := newRig(t)
	id := ident.New(ident.Container)
	dir := r.mount(t, id)
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.kill(t)
	if _, err := os.ReadFile(filepath.Join(dir, "x")); err == nil {
		t.Error("read from a process that is gone")
	}
	// Nobody is promised what is lost, not even who does not say of which volume.
	for _, volumeID := range []string{"", r.id} {
		if _, err := r.Reload(t.Context(), id, volumeID); !errors.Is(err, fault.Unavailable) {
			t.Errorf("a reload of what is lost: %v", err)
		}
	}
	if err := r.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil || strings.Contains(string(text), dir) {
		t.Errorf("still mounted: %v", err)
	}
	if left, err := os.ReadDir(r.cfg.Process.UpperDir); err == nil && len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	settings, err := json.Marshal(volume.Config{Dir: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if err := volume.Main(t.Context(), string(settings), "test", os.Stdout); !errors.Is(err, fault.Invalid) {
		t.Errorf("settings without folders: %v", err)
	}
	if _, err := r.Mount(t.Context(), ident.New(ident.Container), []container.VolumeMount{{VolumeID: ident.New(ident.Volume), Path: "/d"}}); !errors.Is(err, fault.NotFound) {
		t.Errorf("a volume that is not there: %v", err)
	}
}
