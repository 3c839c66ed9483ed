package erofs

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	reader "github.com/erofs/go-erofs"

	"github.com/skerry-dev/skerry/internal/fault"
)

// ToTar writes what an image's file holds as a tar stream: what FromTar was given, but for what images don't keep. Errors: fault.DataLoss for a
// file that is no image.
func ToTar(ctx context.Context, file io.ReaderAt, w io.Writer) error {
	img, err := reader.Open(file)
	if err != nil {
		return fault.New(fault.DataLoss, "image file: %w", err)
	}
	t := tarWriter{ctx: ctx, img: img, out: tar.NewWriter(w), links: map[int64]string{}}
	if err := fs.WalkDir(img, ".", t.entry); err != nil {
		return err
	}
	return t.out.Close()
}

type tarWriter struct {
	ctx   context.Context //nolint:containedctx // of the walk
	img   fs.FS
	out   *tar.Writer
	links map[int64]string // the first name of files that have several, by their number
}

// entry writes one file, folder or link.
func (t *tarWriter) entry(name string, _ fs.DirEntry, err error) error {
	if err := errors.Join(err, t.ctx.Err()); err != nil {
		return err
	}
	info, err := fs.Lstat(t.img, name)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*reader.Stat)
	if !ok {
		return fmt.Errorf("image file: %q: its metadata is a %T", name, info.Sys())
	}
	h, err := t.header(name, info, stat)
	if err != nil {
		return err
	}
	if err := t.out.WriteHeader(h); err != nil {
		return fmt.Errorf("image file: %q: %w", name, err)
	}
	if h.Typeflag != tar.TypeReg || h.Size == 0 {
		return nil
	}
	f, err := t.img.Open(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(t.out, f)
	if err == nil && n != h.Size {
		err = fault.New(fault.DataLoss, "image file: %q: %d bytes of %d", name, n, h.Size)
	}
	return errors.Join(err, f.Close())
}

// header describes an entry. Of a file with several names all but the first are links.
func (t *tarWriter) header(name string, info fs.FileInfo, stat *reader.Stat) (*tar.Header, error) {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = fs.ReadLink(t.img, name); err != nil {
			return nil, err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, fmt.Errorf("image file: %q: %w", name, err)
	}
	h.Name, h.Format = name, tar.FormatPAX
	if info.IsDir() {
		h.Name += "/"
	}
	h.Uid, h.Gid, h.ModTime = int(stat.UID), int(stat.GID), time.Unix(int64(stat.Mtime), int64(stat.MtimeNs)) //nolint:gosec // seconds of our time
	for bit, is := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if stat.Mode&is != 0 { // the reader's FileInfo leaves them out
			h.Mode |= bit
		}
	}
	if info.Mode()&fs.ModeDevice != 0 {
		h.Devmajor, h.Devminor = numbers(stat.Rdev)
	}
	if stat.Nlink > 1 && info.Mode().IsRegular() {
		if first := t.links[stat.Ino]; first != "" {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			t.links[stat.Ino] = name
		}
	}
	return h, nil
}
