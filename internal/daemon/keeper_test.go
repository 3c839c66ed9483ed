package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/fault"
	"github.com/skerry-dev/skerry/internal/ident"
	"github.com/skerry-dev/skerry/internal/payload"
	"github.com/skerry-dev/skerry/worker/keeper"
)

// TestMain is also the keeper's process.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == keeperCommand {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// blobs is a blob store in memory.
type blobs struct{ content sync.Map }

func (b *blobs) Add(_ context.Context, data []byte) (payload.Ref, bool, error) {
	ref := payload.Ref{Digest: ident.Digest(data), Size: uint64(len(data))}
	b.content.Store(ref.Digest, bytes.Clone(data))
	return ref, true, nil
}

func (b *blobs) ReadAll(_ context.Context, digest string, _ int64) ([]byte, error) {
	if data, ok := b.content.Load(digest); ok {
		return data.([]byte), nil //nolint:forcetypeassert // there are no others
	}
	return nil, fault.New(fault.NotFound, "blob %q is not stored", digest)
}

// TestKeeperRole has the command that a worker starts serve an image, and end with the worker.
func TestKeeperRole(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root to mount")
	}
	run, err := os.MkdirTemp("/run", "skerry-daemon-") // short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(run) // empty
	store, content := &blobs{}, bytes.Repeat([]byte("skerry"), 20_000)
	w, err := cas.Write(t.Context(), store, bytes.NewReader(content), []uint32{40_000, 80_000}, []cas.Range{{Size: 40_000}})
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "keeper.log")
	c := keeper.NewClient(keeper.ClientConfig{
		Dir: filepath.Join(run, "keeper"), CacheDir: t.TempDir(), CacheBytes: 1 << 20, LogFile: log,
		Command: []string{"/proc/self/exe", keeperCommand}, Release: Version, Source: store, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	path, release, err := c.Open(t.Context(), w.File)
	if err != nil {
		text, _ := os.ReadFile(log) // for the message
		t.Fatalf("%v\n%s", err, text)
	}
	out, err := exec.CommandContext(t.Context(), "sha256sum", path).Output()
	if got, _, _ := strings.Cut(string(out), " "); err != nil || "sha256:"+got != ident.Digest(content) {
		t.Errorf("read %q: %v", out, err)
	}
	release()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(filepath.Join(run, "keeper")); err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "keeper serves images") {
		t.Errorf("log: %s, %v", text, err)
	}
}
