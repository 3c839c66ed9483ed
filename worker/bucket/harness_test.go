package bucket

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/s3test"
	"github.com/skerry-dev/skerry/internal/testbase"
	"github.com/skerry-dev/skerry/worker/container"
)

// world is a store and a server; the store reaches the server in the host's network.
type world struct {
	t      *testing.T
	store  *Store
	server *s3test.Server
	link   *link // through which the store reaches it
	dir    string
}

func newWorld(t *testing.T, buckets ...string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "skerry-bucket-")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: dir, server: s3test.Start(t, buckets...)}
	w.link = newLink(t, strings.TrimPrefix(w.server.URL, "http://"))
	w.store = w.newStore()
	t.Cleanup(w.nothingLeft)
	return w
}

// newStore is what a process of the worker has.
func (w *world) newStore() *Store {
	w.t.Helper()
	s, err := New(Config{
		Dir: filepath.Join(w.dir, "mounts"), CacheDir: filepath.Join(w.dir, "cache"), CacheBytes: 1 << 30, LogFile: filepath.Join(w.dir, "log"),
		Program: testbase.Tool(w.t, "skerry-bucket"), Trusted: []string{w.link.url()},
		Log: slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// nothingLeft checks that all is gone that was made.
func (w *world) nothingLeft() {
	w.store.Close()
	if w.t.Failed() {
		text, _ := os.ReadFile(filepath.Join(w.dir, "log"))
		w.t.Logf("log of the processes:\n%s", text)
	}
	for _, name := range []string{"mounts", "cache"} {
		if left, _ := os.ReadDir(filepath.Join(w.dir, name)); len(left) > 0 {
			w.t.Errorf("left in %s: %v", name, left)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), w.dir) {
		w.t.Errorf("a mount is left in %s: %v", w.dir, err)
	}
	if err := os.RemoveAll(w.dir); err != nil {
		w.t.Error(err)
	}
}

// of is a bucket of the server with its credentials.
func (w *world) of(bucket string) container.BucketMount {
	return container.BucketMount{
		Bucket: bucket, Endpoint: w.link.url(), PathStyle: true,
		AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey, Region: s3test.Region,
	}
}

// mount mounts a bucket until the end of the test.
func (w *world) mount(b container.BucketMount) string {
	w.t.Helper()
	m, err := w.store.Mount(context.Background(), b)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := m.Release(); err != nil {
			w.t.Error(err)
		}
	})
	return m.Dir
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Error(err)
	}
}

// object is what the server has under a key.
func (w *world) object(bucket, key string) string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.server.Folder, bucket, key))
	if err != nil {
		return "none: " + err.Error()
	}
	return string(data)
}

// link passes connections on to a server, unless it is cut.
type link struct {
	t       *testing.T
	to      string
	address string

	mu       sync.Mutex
	listener net.Listener
	conns    []net.Conn
	passing  sync.WaitGroup
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l := &link{t: t, to: to, address: "127.0.0.1:0"}
	l.join()
	t.Cleanup(l.cut)
	return l
}

func (l *link) url() string { return "http://" + l.address }

// join takes connections, at the same address each time.
func (l *link) join() {
	l.t.Helper()
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		l.t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listener, l.address = listener, listener.Addr().String()
	l.passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.passing.Go(func() { l.pass(conn) })
		}
	})
}

func (l *link) pass(conn net.Conn) {
	other, err := net.Dial("tcp", l.to)
	if err != nil {
		_ = conn.Close()
		return
	}
	l.mu.Lock()
	l.conns = append(l.conns, conn, other)
	l.mu.Unlock()
	var both sync.WaitGroup
	for _, ends := range [][2]net.Conn{{conn, other}, {other, conn}} {
		both.Go(func() {
			_, _ = io.Copy(ends[0], ends[1])
			_, _ = conn.Close(), other.Close()
		})
	}
	both.Wait()
}

// cut ends all connections and takes no more.
func (l *link) cut() {
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close()
	}
	l.listener = nil
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	l.passing.Wait()
}

// arrives waits for an object.
func (w *world) arrives(bucket, key, text string) {
	w.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		w.t.Fatal(err)
	}
	changes := os.NewFile(uintptr(fd), "inotify")
	defer changes.Close()
	if _, err := unix.InotifyAddWatch(fd, filepath.Join(w.server.Folder, bucket), unix.IN_CLOSE_WRITE|unix.IN_MOVED_TO|unix.IN_CREATE|unix.IN_ATTRIB); err != nil {
		w.t.Fatal(err)
	}
	if err := changes.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		w.t.Fatal(err)
	}
	for w.object(bucket, key) != text {
		if _, err := changes.Read(make([]byte, 4096)); err != nil {
			w.t.Fatalf("object %q: %q, want %q: %v", key, w.object(bucket, key), text, err)
		}
	}
}
