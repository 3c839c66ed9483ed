package testbase

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/skerry-dev/skerry/internal/cas"
	"github.com/skerry-dev/skerry/internal/erofs"
	"github.com/skerry-dev/skerry/internal/payload"
)

// left is what Image leaves out: two thirds of the base, which programs don't need.
var left = []string{"var/", "usr/share/", "usr/sbin/", "usr/lib/python3/"}

// Image stores the base as images are stored, in chunks, without what few programs need; Python is in it.
func Image(t testing.TB, to cas.Sink) payload.Ref {
	t.Helper()
	f, err := os.Open(Erofs(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	whole, writeWhole := io.Pipe()
	part, writePart := io.Pipe()
	go func() { _ = writeWhole.CloseWithError(erofs.ToTar(t.Context(), f, writeWhole)) }()
	go func() {
		out := tar.NewWriter(writePart)
		err := erofs.Entries(whole)(t.Context(), func(h *tar.Header, content io.Reader) error {
			for _, l := range left {
				if strings.HasPrefix(h.Name, l) {
					return nil
				}
			}
			err := out.WriteHeader(h)
			if err == nil {
				_, err = io.Copy(out, content)
			}
			return err
		})
		_ = writePart.CloseWithError(errors.Join(err, out.Close()))
	}()
	done, err := erofs.Store(t.Context(), erofs.Params{Tar: part, Dir: t.TempDir(), Sink: to})
	if err != nil {
		t.Fatal(err)
	}
	return done.File
}
