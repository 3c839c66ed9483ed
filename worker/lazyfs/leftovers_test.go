package lazyfs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/worker/cache"
)

// TestMain is also the process whose mounts are left behind.
func TestMain(m *testing.M) {
	if os.Getenv("LAZYFS_LEAVE") != "" {
		leave(os.Getenv("LAZYFS_LEAVE"))
	}
	os.Exit(m.Run())
}

func leave(dir string) {
	o := newOrigin()
	w, err := cas.Write(context.Background(), o, bytes.NewReader(make([]byte, 12288)), []uint32{4096, 8192}, []cas.Range{{Size: 4096}})
	if err != nil {
		panic(err)
	}
	kept, err := cache.Open(filepath.Join(dir, "chunks"), 1<<30)
	if err != nil {
		panic(err)
	}
	log := slog.New(slog.DiscardHandler)
	s := New(Config{Dir: filepath.Join(dir, "mounts"), ProfileDir: dir, Chunks: NewChunks(ChunksConfig{Cache: kept, Source: o, Log: log}), Log: log})
	path, _, err := s.Open(context.Background(), w.File)
	if err != nil {
		panic(err)
	}
	child := exec.Command("sleep", "1000") // as a sandbox: it outlives us
	if err := child.Start(); err != nil {
		panic(err)
	}
	_, _ = fmt.Println(path, child.Process.Pid)
	select {}
}

func TestLeftoversAreReaped(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LAZYFS_LEAVE="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	var path string
	var child int
	if _, err := fmt.Sscan(string(line[:n]), &path, &child); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Kill(child, unix.SIGKILL); err != nil {
			t.Error(err)
		}
	}()
	f := openQuietly(t, path)
	defer f.Close() // its file system is gone
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	// Nobody hangs on it.
	if _, err := f.ReadAt(make([]byte, 4096), 8192); err == nil {
		t.Error("read from a dead file system")
	}
	if err := Sweep(filepath.Join(dir, "mounts")); err != nil {
		t.Fatal(err)
	}
	if left, err := mountsBelow(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
