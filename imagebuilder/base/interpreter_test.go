package base

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/fault"
)

// plant writes files of a Python that a tool installed; a content that begins with "->" is a link.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "->"); link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestInterpreters(t *testing.T) {
	root := t.TempDir()
	folders := HostFolders(func(name string) (string, bool) {
		return map[string]string{"HOME": root, "UV_PYTHON_INSTALL_DIR": filepath.Join(root, "uv")}[name], name == "HOME" || name == "UV_PYTHON_INSTALL_DIR"
	})
	pyenv := filepath.Join(root, ".pyenv/versions")
	if folders[UV] != filepath.Join(root, "uv") || folders[Pyenv] != pyenv {
		t.Fatalf("folders %v", folders)
	}
	own := filepath.Join(pyenv, "3.12.10")
	plant(t, own, map[string]string{
		"bin/python3.12": "program", "bin/python3": "->python3.12", "bin/pip": "#!" + own, "bin/python3.12-config": "prefix=" + own,
		"lib/libpython3.12.so.1.0": own, "lib/libpython3.12.a": "archive", "lib/python3.12/os.py": "import " + own,
		"lib/python3.12/_sysconfigdata__linux.py": "'" + own + "/lib'", "lib/python3.12/site-packages/mine/__init__.py": "of the user",
		"lib/python3.12/__pycache__/os.pyc": "compiled", "lib/python3.12/test/test_os.py": "test", "lib/pkgconfig/python.pc": "prefix=" + own,
		"lib/link": "->" + own + "/lib/python3.12",
	})
	plant(t, filepath.Join(pyenv, "3.12.9"), map[string]string{"bin/python3.12": "older"})
	plant(t, filepath.Join(pyenv, "3.13.0"), map[string]string{"lib/x": "half removed"})
	plant(t, filepath.Join(root, "uv", "cpython-3.14.0+freethreaded-linux-"+machines["amd64"]+"-gnu"), map[string]string{"bin/python3.14t": "free"})
	plant(t, filepath.Join(root, "uv", "cpython-3.10.1-linux-other-gnu"), map[string]string{"bin/python3.10": "of another machine"})

	p := NewInterpreters(t.TempDir(), folders)
	if series, err := p.Series(); err != nil || !slices.Equal(series, []string{"3.12", "3.14t"}) {
		t.Errorf("series %v, %v", series, err)
	}
	var said []string
	first, err := p.Prepare(t.Context(), "3.12", func(line string) { said = append(said, line) })
	if err != nil || first.Name != "python 3.12.10 of pyenv" || len(said) == 0 {
		t.Fatalf("got %+v, %v, said %q", first, err, said)
	}
	again, err := NewInterpreters(t.TempDir(), folders).Prepare(t.Context(), "3.12", func(string) {})
	if err != nil || again.Digest != first.Digest {
		t.Errorf("the same files are %v and %v, %v", first, again, err)
	}
	files := layerOf(t, first.Dir)
	for name, want := range map[string]string{
		"usr/local/bin/python3.12": "program", "usr/local/bin/python3": "->python3.12", "usr/local/bin/python": "->python3.12",
		"usr/local/bin/python3.12-config": "prefix=/usr/local", "usr/local/lib/libpython3.12.so.1.0": own, "usr/local/lib/python3.12/os.py": "import " + own,
		"usr/local/lib/python3.12/_sysconfigdata__linux.py": "'/usr/local/lib'", "usr/local/lib/pkgconfig/python.pc": "prefix=/usr/local",
		"usr/local/lib/link": "->/usr/local/lib/python3.12",
	} {
		if files[name] != want {
			t.Errorf("%s: %q, want %q", name, files[name], want)
		}
		delete(files, name)
	}
	if len(files) > 0 {
		t.Errorf("also there: %v", files)
	}
	if _, err := p.Prepare(t.Context(), "3.11", func(string) {}); !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "3.12, 3.14t") {
		t.Errorf("a series that is not there: %v", err)
	}
}

// layerOf reads the files of a layout's one layer, its largest blob.
func layerOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	var layer string
	var size int64
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			layer, size = path, info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(layer)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.ModTime.Unix() != 0 {
			t.Errorf("%s: owner %d, time %s", h.Name, h.Uid, h.ModTime)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			files[h.Name] = string(data)
		case tar.TypeSymlink:
			files[h.Name] = "->" + h.Linkname
		}
	}
}

func TestChain(t *testing.T) {
	debian := NewDebian(DebianConfig{Dir: t.TempDir()})
	none := NewInterpreters(t.TempDir(), nil)
	c := Chain{debian, &FromHost{Debian: debian, Interpreters: none}, FromRegistry{Image: "python:{python}-slim"}}
	series, _ := c.Series()
	if !slices.Equal(series, []string{"3.9", "3.10", "3.11", "3.12", "3.13", "3.14"}) {
		t.Errorf("series %v", series)
	}
	img, err := c.Prepare(t.Context(), "3.12", func(string) {})
	if err != nil || img.Reference != "python:3.12-slim" || img.Dir != "" {
		t.Errorf("got %+v, %v", img, err)
	}
	if _, err := c.Prepare(t.Context(), "3.99", func(string) {}); !errors.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "3.9, 3.10") {
		t.Errorf("got %v", err)
	}
}
