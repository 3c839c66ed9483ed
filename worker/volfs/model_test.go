package volfs

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/skerry-dev/skerry/internal/testbase"
)

// exercise does the same at random in two folders: a volume and one of the host.
type exercise struct {
	rng  *rand.Rand
	a, b string
}

func (x *exercise) path() string {
	p := ""
	for range 1 + x.rng.IntN(3) {
		p = filepath.Join(p, fmt.Sprintf("n%d", x.rng.IntN(6)))
	}
	return p
}

// both does something at both places; what comes of it has to be the same.
func (x *exercise) both(t *testing.T, what string, do func(dir string) error) {
	t.Helper()
	ea, eb := do(x.a), do(x.b)
	if errno(ea) != errno(eb) {
		t.Errorf("%s: %v, in a plain folder %v", what, ea, eb)
	}
}

func errno(err error) syscall.Errno {
	for err != nil {
		if e, ok := err.(syscall.Errno); ok { //nolint:errorlint // unwrapped by hand
			return e
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return syscall.EINVAL
		}
		err = u.Unwrap()
	}
	return 0
}

var when = time.Unix(1_700_000_000, 123_456_789)

func (x *exercise) write(dir, path string, flags int, data []byte, at int64) error {
	f, err := os.OpenFile(filepath.Join(dir, path), flags, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	if flags&os.O_APPEND != 0 {
		_, err = f.Write(data)
	} else {
		_, err = f.WriteAt(data, at)
	}
	if err == nil {
		err = os.Chtimes(f.Name(), when, when)
	}
	return err
}

func (x *exercise) step(t *testing.T) {
	p, q := x.path(), x.path()
	small := make([]byte, 1+x.rng.IntN(3000))
	for i := range small {
		small[i] = byte(x.rng.Uint32())
	}
	at := int64(x.rng.IntN(5000))
	if x.rng.IntN(4) == 0 {
		at = int64(BlockSize) - 1000 + int64(x.rng.IntN(2*BlockSize))
	}
	mode := os.FileMode(x.rng.IntN(0o1000))
	size := int64(x.rng.IntN(3)) * at
	switch x.rng.IntN(16) {
	case 0, 1, 2:
		x.both(t, "write "+p, func(d string) error { return x.write(d, p, os.O_RDWR|os.O_CREATE, small, at) })
	case 3:
		x.both(t, "append "+p, func(d string) error { return x.write(d, p, os.O_WRONLY|os.O_CREATE|os.O_APPEND, small, 0) })
	case 4:
		x.both(t, "rewrite "+p, func(d string) error { return x.write(d, p, os.O_RDWR|os.O_CREATE|os.O_TRUNC, small, 0) })
	case 5, 6:
		x.both(t, "mkdir "+p, func(d string) error { return os.Mkdir(filepath.Join(d, p), 0o755) })
	case 7:
		x.both(t, "remove "+p, func(d string) error { return syscall.Unlink(filepath.Join(d, p)) })
	case 8:
		x.both(t, "rmdir "+p, func(d string) error { return syscall.Rmdir(filepath.Join(d, p)) })
	case 9, 10:
		x.both(t, "rename "+p+" "+q, func(d string) error { return os.Rename(filepath.Join(d, p), filepath.Join(d, q)) })
	case 11:
		x.both(t, "link "+p+" "+q, func(d string) error {
			if info, err := os.Lstat(filepath.Join(d, p)); err == nil && info.Mode()&fs.ModeSymlink != 0 {
				return nil // the one thing that is other: symbolic links have one name
			}
			return os.Link(filepath.Join(d, p), filepath.Join(d, q))
		})
	case 12:
		x.both(t, "symlink "+p, func(d string) error { return os.Symlink(q, filepath.Join(d, p)) })
	case 13:
		x.both(t, fmt.Sprintf("truncate %s %d", p, size), func(d string) error {
			if err := os.Truncate(filepath.Join(d, p), size); err != nil {
				return err
			}
			return os.Chtimes(filepath.Join(d, p), when, when)
		})
	case 14:
		x.both(t, "chmod "+p, func(d string) error { return os.Chmod(filepath.Join(d, p), mode|0o700) })
	case 15:
		x.both(t, "chown "+p, func(d string) error { return os.Lchown(filepath.Join(d, p), int(mode), 7) })
	}
}

// A volume is like a plain folder, and so is each version that was committed of it.
func TestModel(t *testing.T) {
	rounds, steps := 12, 150
	if testbase.Full() {
		rounds, steps = 24, 150
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SKERRY_TEST_SEED"); text != "" {
		if _, err := fmt.Sscan(text, &seed); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	s := newStore(t)
	v := s.mount(nil)
	x := &exercise{rng: rand.New(rand.NewPCG(seed, 1)), a: v.dir, b: t.TempDir()}
	if err := os.Chmod(x.b, 0o755); err != nil {
		t.Fatal(err)
	}
	reloaded := false
	for round := range rounds {
		for range steps {
			x.step(t)
		}
		// What a version has under other names is not known until somebody looks.
		same(t, fmt.Sprintf("round %d", round), look(t, x.a, !reloaded), look(t, x.b, !reloaded))
		v.commit()
		same(t, fmt.Sprintf("round %d, after its commit", round), look(t, x.a, false), look(t, x.b, false))
		other := s.mount(nil)
		same(t, fmt.Sprintf("round %d, another container", round), look(t, other.dir, false), look(t, x.b, false))
		if x.rng.IntN(3) == 0 {
			if !v.Show(s.top()) {
				t.Fatal("something has changed since the commit")
			}
			reloaded = true
			same(t, fmt.Sprintf("round %d, after a reload", round), look(t, x.a, false), look(t, x.b, false))
		}
		if t.Failed() {
			return
		}
	}
}
