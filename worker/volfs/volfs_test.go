package volfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/skerry-dev/skerry/internal/voltree"
)

func (v *volume) path(elem ...string) string {
	return filepath.Join(append([]string{v.dir}, elem...)...)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is stored of a file is what it was at one instant, though its writer goes on meanwhile.
func TestCutsAreNotTorn(t *testing.T) {
	v := newStore(t).mount(nil)
	f, err := os.Create(v.path("file"))
	must(t, err)
	const blocks = 3
	stamp := func(n uint64) {
		for i := range int64(blocks) {
			_, err := f.WriteAt(binary.BigEndian.AppendUint64(nil, n), i*BlockSize)
			must(t, err)
		}
	}
	stamp(1)
	must(t, f.Truncate(blocks*BlockSize))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := uint64(2); ; n++ {
			select {
			case <-stop:
				return
			default:
				stamp(n)
			}
		}
	}()
	var last uint64
	for range 40 {
		c := v.Changes()
		if c == nil {
			continue
		}
		for cut := range c.Files() {
			var seen [blocks]uint64
			for i := range uint64(blocks) {
				data, err := cut.ReadBlock(t.Context(), i)
				must(t, err)
				seen[i] = binary.BigEndian.Uint64(data)
			}
			if seen[0] < last || seen[0] < seen[1] || seen[1] < seen[2] || seen[0]-seen[2] > 1 {
				t.Errorf("blocks %v after %d: not of one instant", seen, last)
			}
			last = seen[0]
		}
		contents, list := v.stage(c)
		v.store.apply(list)
		c.Settle(contents)
	}
	close(stop)
	<-done
	must(t, f.Close())
	if last < 2 {
		t.Errorf("the writer has not gone on: %d", last)
	}
}

// A change of a large file copies and stores the blocks that it touches; what was removed or cut off meanwhile is stored as it was.
func TestParts(t *testing.T) {
	s := newStore(t)
	v := s.mount(nil)
	want := bytes.Repeat([]byte("0123456789abcdef"), 3*BlockSize/16+5)
	must(t, os.WriteFile(v.path("large"), want, 0o600))
	v.commit()
	if used := v.cfg.Bytes.used.Load(); used != 0 {
		t.Errorf("after the commit %d bytes are held", used)
	}
	before := len(s.blobs)
	f, err := os.OpenFile(v.path("large"), os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("X"), BlockSize+7)
	must(t, err)
	want[BlockSize+7] = 'X'
	if used := v.cfg.Bytes.used.Load(); used != BlockSize {
		t.Errorf("one block is changed: %d bytes are held", used)
	}
	c := v.Changes()
	must(t, f.Truncate(10))
	must(t, f.Close())
	must(t, os.Remove(v.path("large")))
	contents, list := v.stage(c)
	s.apply(list)
	c.Settle(contents)
	// The chunk, the manifest, the page of the folder and the root.
	if more := len(s.blobs) - before; more > 4 {
		t.Errorf("%d blobs were stored for one byte", more)
	}
	other := s.mount(nil)
	got, err := os.ReadFile(other.path("large"))
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the file is not what it was when the commit began")
	}
	v.commit()
	if _, err := os.Stat(s.mount(nil).path("large")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after it was removed: %v", err)
	}
}

// What nobody has looked at goes with a folder that is moved, and with one that is removed.
func TestUnseen(t *testing.T) {
	s := newStore(t)
	v := s.mount(nil)
	for i := range 50 {
		must(t, os.MkdirAll(v.path("a", "b", fmt.Sprint(i)), 0o700))
		must(t, os.WriteFile(v.path("a", "b", fmt.Sprint(i), "f"), []byte(fmt.Sprint("text ", i)), 0o600))
	}
	v.commit()
	w := s.mount(nil)
	must(t, os.Rename(w.path("a", "b"), w.path("c")))
	must(t, os.Remove(w.path("c", "7", "f")))
	must(t, os.WriteFile(w.path("c", "8", "f"), []byte("new"), 0o600))
	w.commit()
	other := s.mount(nil)
	same(t, "moved", look(t, other.dir, false), look(t, w.dir, false))
	if got, err := os.ReadFile(other.path("c", "49", "f")); string(got) != "text 49" {
		t.Errorf("%q, %v", got, err)
	}
	if err := unix.Rmdir(other.path("c")); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("rmdir of a folder that nobody has looked into: %v", err)
	}
	must(t, os.RemoveAll(other.path("c")))
	other.commit()
	if left, err := os.ReadDir(s.mount(nil).path()); err != nil || len(left) != 1 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A version is shown whole; who has a file of the one before open goes on with it.
func TestShow(t *testing.T) {
	s := newStore(t)
	v, w := s.mount(nil), s.mount(nil)
	must(t, os.WriteFile(v.path("file"), []byte("one"), 0o600))
	v.commit()
	if _, err := os.Stat(w.path("file")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("before the reload: %v", err)
	}
	if !w.Show(s.top()) {
		t.Fatal("refused")
	}
	f, err := os.Open(w.path("file"))
	must(t, err)
	must(t, os.WriteFile(v.path("file"), []byte("two"), 0o600))
	must(t, os.Mkdir(v.path("dir"), 0o700))
	v.commit()
	if !w.Show(s.top()) {
		t.Fatal("refused")
	}
	old := make([]byte, 3)
	if _, err := f.Read(old); err != nil || string(old) != "one" {
		t.Errorf("what was open: %q, %v", old, err)
	}
	must(t, f.Close())
	if got, err := os.ReadFile(w.path("file")); string(got) != "two" {
		t.Errorf("%q, %v", got, err)
	}
	must(t, os.WriteFile(w.path("dir", "mine"), []byte("x"), 0o600))
	if w.Show(s.top()) {
		t.Error("shown though there are changes")
	}
	w.commit()
}

func TestRoom(t *testing.T) {
	v := newStore(t).mount(func(c *Config) { c.Bytes, c.Nodes = NewRoom(1<<20, nil), NewRoom(10, nil) })
	data := make([]byte, 256<<10)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = os.WriteFile(v.path(fmt.Sprint("f", n)), data, 0o600)
	}
	if !errors.Is(err, unix.ENOSPC) || n != 5 {
		t.Fatalf("file %d: %v", n, err)
	}
	must(t, os.Remove(v.path("f0")))
	must(t, os.WriteFile(v.path("f0"), data, 0o600))
	v.commit()
	must(t, os.WriteFile(v.path("f9"), data, 0o600))
	for n = 0; err == nil || n == 0; n++ {
		err = os.Mkdir(v.path(fmt.Sprint("d", n)), 0o700)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("folder %d: %v", n, err)
	}
}

// What the volume can't have is refused when it is made, not when it is committed.
func TestRefused(t *testing.T) {
	s := newStore(t)
	v := s.mount(nil)
	for what, c := range map[string]struct{ got, want error }{
		"a device":      {unix.Mknod(v.path("null"), unix.S_IFCHR|0o600, 259), unix.EPERM},
		"bytes as name": {unix.Mkdir(v.path("\xff"), 0o700), unix.EILSEQ},
		"a long name":   {unix.Mkdir(v.path(strings.Repeat("x", 256)), 0o700), unix.ENAMETOOLONG},
		"bytes as link": {unix.Symlink("\xff", v.path("l")), unix.EILSEQ},
		"a large file": {func() error {
			must(t, os.WriteFile(v.path("f"), nil, 0o600))
			return os.Truncate(v.path("f"), voltree.MaxFile+1)
		}(), unix.EFBIG},
		"two for a link": {func() error { must(t, os.Symlink("f", v.path("s"))); return os.Link(v.path("s"), v.path("s2")) }(), unix.EPERM},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	must(t, unix.Mkfifo(v.path("fifo"), 0o600))
	deep, err := os.OpenRoot(v.dir)
	must(t, err)
	defer deep.Close()
	depth := 0
	for ; ; depth++ {
		if err = deep.Mkdir(strings.Repeat("d", 200), 0o700); err != nil {
			break
		}
		next, err := deep.OpenRoot(strings.Repeat("d", 200))
		must(t, err)
		must(t, deep.Close())
		deep = next
	}
	if !errors.Is(err, unix.ENAMETOOLONG) || depth < 10 {
		t.Errorf("folder %d in one another: %v", depth, err)
	}
	v.commit()
	if info, err := os.Lstat(s.mount(nil).path("fifo")); err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		t.Errorf("a FIFO: %v, %v", info, err)
	}
	r := s.mount(func(c *Config) { c.ReadOnly = true })
	if err := unix.Mkdir(r.path("x"), 0o700); !errors.Is(err, unix.EROFS) {
		t.Errorf("read only: %v", err)
	}
}
