package erofs_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/skerry-dev/skerry/internal/erofs"
)

// TestThereAndBack has the tar of an image make the same image, whatever its files are called.
func TestThereAndBack(t *testing.T) {
	path := write(t, archive(t, append(hard(), file("etc/caf\xe9/latin\xe9", "not UTF-8"), file("etc/.wh.none", "no whiteout"))))
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var back bytes.Buffer
	if err := erofs.ToTar(t.Context(), f, &back); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(write(t, back.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%d bytes became %d others", len(want), len(got))
	}
}
