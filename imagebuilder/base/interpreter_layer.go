package base

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// localPrefix is where interpreters are in images.
const localPrefix = "usr/local"

// maxRewritten is the size of files up to which they are searched for the interpreter's own folder.
const maxRewritten = 4 << 20

// layer stores the interpreter's files as a layer: the same for the same files. Packages that are installed in it are left out, for they
// are the host's; pip comes from the interpreter's own bundle.
func (i installed) layer(ctx context.Context, l layoutWriter) (descriptor, error) {
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(i.write(ctx, w)) }() // never fails
	d, err := l.layer(r)
	_ = r.Close() // never fails
	return d, err
}

func (i installed) write(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	seen := map[string]bool{}
	err := filepath.WalkDir(i.dir, func(name string, e fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		rel, err := filepath.Rel(i.dir, name)
		if err != nil || rel == "." {
			return err
		}
		if !i.wanted(rel, e) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		seen[rel] = true
		return i.add(out, name, rel, e)
	})
	if err != nil {
		return err
	}
	for _, link := range []string{"bin/python", "bin/python3", "bin/python" + strings.TrimSuffix(i.series, "t")} {
		if !seen[link] {
			err := out.WriteHeader(&tar.Header{
				Typeflag: tar.TypeSymlink, Name: path.Join(localPrefix, link), Linkname: "python" + i.series, Mode: 0o777, ModTime: time.Unix(0, 0),
			})
			if err != nil {
				return err
			}
		}
	}
	return out.Close()
}

// wanted leaves out what images don't need, and what is of the host's user.
func (i installed) wanted(rel string, e fs.DirEntry) bool {
	library := "lib/python" + i.series
	switch {
	case e.Name() == "__pycache__", e.Name() == "EXTERNALLY-MANAGED", strings.HasSuffix(rel, ".a"), strings.HasSuffix(rel, ".pyc"):
		return false
	case strings.HasPrefix(rel, library+"/site-packages/"), rel == library+"/test", rel == library+"/idlelib", rel == "share":
		return false
	case strings.HasPrefix(rel, "bin/") && !strings.HasPrefix(rel, "bin/python"):
		return false // scripts of packages
	case strings.HasSuffix(rel, "-gdb.py"):
		return false
	}
	return true
}

// add writes one file, folder or link. The folder that the interpreter was installed in becomes /usr/local in texts.
func (i installed) add(out *tar.Writer, name, rel string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: path.Join(localPrefix, filepath.ToSlash(rel)), Mode: int64(info.Mode().Perm()), ModTime: time.Unix(0, 0)}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		return out.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		if h.Linkname, err = os.Readlink(name); err != nil {
			return err
		}
		if filepath.IsAbs(h.Linkname) {
			h.Linkname = strings.Replace(h.Linkname, i.dir, "/"+localPrefix, 1)
		}
		h.Typeflag = tar.TypeSymlink
		return out.WriteHeader(h)
	case !info.Mode().IsRegular():
		return nil
	}
	if rewritten(rel) && info.Size() <= maxRewritten {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		data = bytes.ReplaceAll(data, []byte(i.dir), []byte("/"+localPrefix))
		h.Typeflag, h.Size = tar.TypeReg, int64(len(data))
		if err := out.WriteHeader(h); err != nil {
			return err
		}
		_, err = out.Write(data)
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(f, info.Size()))
	return err
}

// rewritten says which files are texts that name the interpreter's folder: how it was built, and scripts.
func rewritten(rel string) bool {
	return slices.Contains([]string{".pc", ".py"}, path.Ext(rel)) && (strings.Contains(rel, "_sysconfigdata") || path.Ext(rel) == ".pc") ||
		path.Base(rel) == "Makefile" || strings.HasPrefix(rel, "bin/") && strings.HasSuffix(rel, "-config")
}
