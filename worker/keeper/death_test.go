package keeper

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/skerry-dev/skerry/internal/ident"
)

// TestKeeperIsKilled kills keepers whose images are read: the next one goes on with what readers wait for.
func TestKeeperIsKilled(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	if err := r.read(f, 10); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{20, 25} {
		open, read := r.withhold(t, f, index)
		pid := c.pid(t)
		ended := watch(t, pid)
		kill(t, pid)
		ended()
		open()
		if err := <-read; err != nil {
			t.Errorf("chunk %d: %v", index, err)
		}
		if next := c.pid(t); next == pid {
			t.Errorf("the keeper is still process %d", pid)
		}
	}
	for i := range r.manifest.Chunks {
		if err := r.read(f, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	again, second := r.open(t, c)
	if err := r.read(again, 30); err != nil || again.path != f.path {
		t.Errorf("opened again at %q, was at %q: %v", again.path, f.path, err)
	}
	// Another process maps what was resumed.
	out, err := exec.CommandContext(t.Context(), "python3", "-c", `
import mmap, sys, hashlib
f = open(sys.argv[1], "rb")
print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())`, f.path).Output()
	if err != nil || "sha256:"+strings.TrimSpace(string(out)) != ident.Digest(r.content) {
		t.Errorf("mapped: %s, %v", out, err)
	}
	f.close()
	again.close()
	release()
	second()
	select {
	case lost := <-r.lost:
		t.Errorf("lost: %v", lost)
	default:
	}
}

// TestGivenBackWhileTheKeeperIsDead gives an image back to a keeper that has just been killed.
func TestGivenBackWhileTheKeeperIsDead(t *testing.T) {
	r := newRig(t)
	for range 3 {
		c := r.client(t)
		f, release := r.open(t, c)
		f.close()
		pid := c.pid(t)
		ended := watch(t, pid)
		kill(t, pid)
		ended()
		release()
		again, second := r.open(t, c)
		if err := r.read(again, 3); err != nil {
			t.Error(err)
		}
		again.close()
		second()
		c.close(t)
	}
}

// TestKeeperThatCanNotStartAgain kills a keeper after which no other starts: readers get errors, and the worker hears of it.
func TestKeeperThatCanNotStartAgain(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	_, read := r.withhold(t, f, 20)
	pid := c.pid(t)
	c.cfg.Command = []string{os.Args[0], "as-failing-keeper"}
	kill(t, pid)
	if err := <-read; err == nil {
		t.Error("read from a dead file system")
	}
	if lost := <-r.lost; len(lost) != 1 || lost[0] != f.path {
		t.Errorf("lost: %v", lost)
	}
	if err := r.read(f, 21); err == nil {
		t.Error("read from a dead file system")
	}
	c.cfg.Command = r.Command
	again, second := r.open(t, c)
	if err := r.read(again, 21); err != nil {
		t.Errorf("opened again: %v", err)
	}
	release()
	if err := r.read(again, 22); err != nil {
		t.Errorf("after what was lost has been given back: %v", err)
	}
	again.close()
	second()
}

// TestKeeperThatDiesAgainAndAgain kills keepers until the worker gives up.
func TestKeeperThatDiesAgainAndAgain(t *testing.T) {
	r := newRig(t)
	c := r.client(t)
	f, release := r.open(t, c)
	defer release()
	for range maxRestarts {
		c.killKeeper(t)
		if err := r.read(f, 5); err != nil {
			t.Fatal(err)
		}
	}
	c.killKeeper(t)
	if lost := <-r.lost; len(lost) != 1 {
		t.Errorf("lost: %v", lost)
	}
	if err := r.read(f, 20); err == nil {
		t.Error("read from a dead file system")
	}
}

// TestAllAreKilled kills keeper and worker: nobody hangs, and the next worker takes down what is left.
func TestAllAreKilled(t *testing.T) {
	r := newRig(t)
	path, process := r.elsewhere(t, r.without(t))
	f := openFile(t, path)
	read := make(chan error, 1)
	go func() { read <- r.read(f, 20) }()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: r.Dir + "/1/socket", Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, conn)
	_ = conn.Close() // nothing was said
	// It would start another keeper.
	if err := process.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	kill(t, pid)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	if err := <-read; err == nil {
		t.Error("read from a dead file system")
	}
	c := r.client(t)
	if err := c.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile("/proc/self/mounts"); err != nil || strings.Contains(string(text), r.Dir) {
		t.Errorf("left: %s, %v", text, err)
	}
	again, release := r.open(t, c)
	if err := r.read(again, 20); err != nil || again.path != path {
		t.Errorf("opened again at %q, was at %q: %v", again.path, path, err)
	}
	again.close()
	release()
}

// TestInstancesBesideEachOther kills the keeper of one instance, for good, while the other's image is read.
func TestInstancesBesideEachOther(t *testing.T) {
	first, second := newRig(t), newRig(t)
	one, other := first.client(t), second.client(t)
	f, release := first.open(t, one)
	g, another := second.open(t, other)
	if one.pid(t) == other.pid(t) {
		t.Error("one keeper serves two instances")
	}
	pid := one.pid(t)
	one.cfg.Command = []string{os.Args[0], "as-failing-keeper"}
	kill(t, pid)
	<-first.lost
	for i := range second.manifest.Chunks {
		if err := second.read(g, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	if err := other.Reap(t.Context()); err != nil {
		t.Error(err)
	}
	f.close()
	g.close()
	release()
	another()
}

// TestNextRelease has a worker that speaks a newer protocol as well go on with a keeper that does not.
func TestNextRelease(t *testing.T) {
	r := newRig(t)
	r.Command = []string{os.Args[0], "as-old-keeper"}
	path, process := r.elsewhere(t, r.without(t))
	f := openFile(t, path)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	r.cut = func(c *ClientConfig) { c.Oldest, c.Newest = 1, 2 }
	c := r.client(t)
	adopted, release, err := c.Adopt(t.Context(), r.Image)
	if err != nil || adopted != path {
		t.Fatalf("adopted at %q, was opened at %q: %v", adopted, path, err)
	}
	if err := r.read(f, 20); err != nil {
		t.Error(err)
	}
	f.close()
	release()
}

// TestReleaseAfterTheNext has a worker that speaks no protocol of a keeper start another. The old one serves what is open, and ends with it.
func TestReleaseAfterTheNext(t *testing.T) {
	r := newRig(t)
	r.Command = []string{os.Args[0], "as-old-keeper"}
	path, process := r.elsewhere(t, r.Blobs)
	f := openFile(t, path)
	if err := r.read(f, 10); err != nil {
		t.Fatal(err)
	}
	old := r.client(t)
	oldPID := old.pid(t)
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait() // killed
	old.end()
	old.running.Wait()
	ended := watch(t, oldPID)
	r.Command = []string{os.Args[0], "as-next-keeper"}
	r.cut = func(c *ClientConfig) { c.Oldest, c.Newest = 2, 2 }
	c := r.client(t)
	adopted, release, err := c.Adopt(t.Context(), r.Image)
	if err != nil || adopted != path {
		t.Fatalf("adopted at %q, was opened at %q: %v", adopted, path, err)
	}
	defer release()
	if err := c.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
	g, another := r.open(t, c)
	if want := fmt.Sprintf("%s/2/images/", r.Dir); !strings.HasPrefix(g.path, want) {
		t.Errorf("new images are at %q, not in %q", g.path, want)
	}
	for i := range r.manifest.Chunks {
		if err := r.read(g, i); err != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	if err := r.read(f, 10); err != nil {
		t.Errorf("the old keeper's image: %v", err)
	}
	f.close()
	ended()
	g.close()
	another()
	// The cache that it had beside the old one's goes with it.
	c.close(t)
	if _, err := os.Stat(r.CacheDir + "/chunks-2"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
	if _, err := os.Stat("/proc/" + strconv.Itoa(oldPID)); !errors.Is(err, os.ErrNotExist) {
		t.Logf("process %d: %v", oldPID, err)
	}
}
